//! The attributes of `skep-sdk`, which documents and re-exports them. Never used alone.

mod agent;
mod data;
mod handlers;
mod message;

use proc_macro::TokenStream;

/// Makes a struct the agent of this component. A fresh agent is its `Default`.
///
/// * `#[agent(persist)]`: the struct is kept in the agent's state: loaded when an instance starts, written once a turn
///   and only if it has changed. A field with `#[skep(skip)]` is not kept; it is `Default` in a new instance, and a
///   refusal leaves it as it is.
/// * `#[agent(persist, version = 2)]`: the struct's own version, 1 unless given. State of another version is brought to
///   this one by `migrate`, see [`macro@handlers`].
/// * `#[agent(batch_max = 1)]`: the most messages in one batch; 0, the default, is the host's choice.
///
/// Stands above `#[derive(...)]`. Adds serde's derives where they are missing.
#[proc_macro_attribute]
pub fn agent(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(agent::expand(options.into(), item.into()))
}

/// Makes each method of an impl a handler.
///
/// A handler takes `&self` or `&mut self`, then `ctx: &mut Context` if it wants it, then what has come if it wants that.
/// It returns the reply, `Later`, or a `skep_sdk::Result` of either. A plain method handles the message
/// that it takes; else an attribute says what it is for:
///
/// | attribute | takes | when |
/// |---|---|---|
/// | `#[timer("name")]`, `#[timer]` | `Timer` | the timer of this name, any other timer |
/// | `#[answer]` | `Answer` | an ask or a task has ended |
/// | `#[answers]` | `Answers` | an `ask_many` has ended |
/// | `#[down]` | `Down` | an agent that is linked, monitored or owned has ended |
/// | `#[fallback]` | `Envelope` | a message of any other kind |
///
/// And three by their names: `fn start(&mut self, ctx, config)` before the first message of every instance, where `config`
/// is `Config` or a serde type; `fn stop(&mut self, ctx, reason: ExitReason)`, best effort; and
/// `fn migrate(ctx, old: Stored) -> Result<Self>` in the first instance after a swap, if the stored struct has another
/// version or the struct is not kept.
#[proc_macro_attribute]
pub fn handlers(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(handlers::expand(options.into(), item.into()))
}

/// Makes a struct or enum a message, as JSON. Its kind is its name in kebab case.
///
/// * `#[message(reply = u64)]`: what an ask is answered with; `()` unless given.
/// * `#[message(kind = "add")]`: another kind.
/// * `#[message(raw)]`: a newtype over `Vec<u8>` whose body is these bytes.
///
/// Adds serde's derives where they are missing.
#[proc_macro_attribute]
pub fn message(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(message::expand(options.into(), item.into()))
}

/// Adds serde's derives: for replies, and for what messages and persisted structs contain.
#[proc_macro_attribute]
pub fn data(options: TokenStream, item: TokenStream) -> TokenStream {
    finish(data::expand(options.into(), item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
