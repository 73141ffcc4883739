//! `#[handlers]`.

use std::collections::BTreeMap;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    Attribute, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, PatType, Result, ReturnType, Type, TypePath,
};

/// What a method is for.
enum Role {
    Message,
    Timer(String),
    One(&'static str),
    Start,
    Stop,
    Migrate,
}

/// What a method wants to be given.
struct Shape {
    changes: bool,
    ctx: bool,
    takes: Option<Type>,
}

/// The consts of `Handlers` that hold one handler or none.
const ONE: [(&str, &str); 4] =
    [("answer", "ANSWER"), ("answers", "ANSWERS"), ("down", "DOWN"), ("fallback", "FALLBACK")];

#[derive(Default)]
struct Found {
    messages: Vec<TokenStream>,
    timers: Vec<TokenStream>,
    any_timer: Option<TokenStream>,
    one: BTreeMap<&'static str, TokenStream>,
    hooks: Vec<TokenStream>,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !options.is_empty() {
        return Err(syn::Error::new_spanned(options, "`#[handlers]` has no options"));
    }
    let mut item: ItemImpl = syn::parse2(item)?;
    if item.trait_.is_some() {
        return Err(syn::Error::new_spanned(&item.self_ty, "`#[handlers]` is for an impl without a trait"));
    }
    let mut found = Found::default();
    for member in &mut item.items {
        let ImplItem::Fn(method) = member else { continue };
        let role = role(method)?;
        found.add(role, method)?;
    }
    let generated = found.finish(&item.self_ty);
    Ok(quote!(#item #generated))
}

impl Found {
    fn add(&mut self, role: Role, method: &ImplItemFn) -> Result<()> {
        let shape = if matches!(role, Role::Migrate) { Shape::of_function(method)? } else { Shape::of_method(method)? };
        let name = &method.sig.ident;
        match role {
            Role::Message => {
                let Some(message) = &shape.takes else {
                    let text = "a handler takes its message last; helpers belong into another impl";
                    return Err(syn::Error::new_spanned(&method.sig, text));
                };
                self.messages.push(shape.handler(name, &quote!(<#message as ::skep_sdk::Message>::KIND)));
            }
            Role::Timer(timer) if timer.is_empty() => self.any_timer = Some(shape.handler(name, &quote!(""))),
            Role::Timer(timer) => self.timers.push(shape.handler(name, &quote!(#timer))),
            Role::One(constant) => {
                if self.one.insert(constant, shape.handler(name, &quote!(""))).is_some() {
                    return Err(syn::Error::new_spanned(name, "there is one such handler already"));
                }
            }
            Role::Start => self.hooks.push(shape.start(name)),
            Role::Stop => self.hooks.push(shape.stop(name)),
            Role::Migrate => self.hooks.push(shape.migrate(name)),
        }
        Ok(())
    }

    fn finish(self, agent: &Type) -> TokenStream {
        let Self { messages, timers, any_timer, one, hooks } = self;
        let any_timer = any_timer.into_iter();
        let one = ONE.map(|(_, constant)| {
            let handler = one.get(constant).into_iter();
            let constant = Ident::new(constant, proc_macro2::Span::call_site());
            quote!(const #constant: &'static [::skep_sdk::__private::Handler<Self>] = &[#(#handler),*];)
        });
        quote! {
            impl ::skep_sdk::Handlers for #agent {
                const MESSAGES: &'static [::skep_sdk::__private::Handler<Self>] = &[#(#messages),*];
                const TIMERS: &'static [::skep_sdk::__private::Handler<Self>] = &[#(#timers,)* #(#any_timer)*];
                #(#one)*
                #(#hooks)*
            }

            const _: () = ::core::assert!(
                ::skep_sdk::__private::distinct(<#agent as ::skep_sdk::Handlers>::MESSAGES)
                    && ::skep_sdk::__private::distinct(<#agent as ::skep_sdk::Handlers>::TIMERS),
                "two handlers are for the same kind of message or the same timer",
            );
        }
    }
}

impl Shape {
    fn of_method(method: &ImplItemFn) -> Result<Self> {
        let Some(FnArg::Receiver(receiver)) = method.sig.inputs.first() else {
            let text = "a handler takes `&self` or `&mut self`; helpers belong into another impl";
            return Err(syn::Error::new_spanned(&method.sig, text));
        };
        if receiver.reference.is_none() {
            return Err(syn::Error::new_spanned(receiver, "a handler takes `&self` or `&mut self`"));
        }
        Self::of_arguments(method, receiver.mutability.is_some(), 1)
    }

    fn of_function(method: &ImplItemFn) -> Result<Self> {
        if let Some(FnArg::Receiver(receiver)) = method.sig.inputs.first() {
            return Err(syn::Error::new_spanned(receiver, "`migrate` makes the struct, so it takes no `self`"));
        }
        Self::of_arguments(method, false, 0)
    }

    fn of_arguments(method: &ImplItemFn, changes: bool, skip: usize) -> Result<Self> {
        let mut arguments = method.sig.inputs.iter().skip(skip).filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        });
        let mut next = arguments.next();
        let ctx = next.is_some_and(is_context);
        if ctx {
            next = arguments.next();
        }
        let takes = next.map(|argument| (*argument.ty).clone());
        if let Some(extra) = arguments.next() {
            let text = "a handler takes the context, then what has come, and no more";
            return Err(syn::Error::new_spanned(extra, text));
        }
        Ok(Self { changes, ctx, takes })
    }

    /// `agent.name(ctx, it)` with what the method wants.
    fn call(&self, name: &Ident) -> TokenStream {
        let ctx = self.ctx.then(|| quote!(ctx,));
        let it = self.takes.as_ref().map(|_| quote!(it));
        quote!(Self::#name(agent, #ctx #it))
    }

    fn handler(&self, name: &Ident, key: &TokenStream) -> TokenStream {
        let changes = self.changes;
        let call = self.call(name);
        let takes = self.takes.as_ref().map_or_else(|| quote!(()), |takes| quote!(#takes));
        quote! {
            ::skep_sdk::__private::Handler {
                name: #key,
                run: |instance, body| {
                    #[allow(unused_variables, reason = "a handler need not take everything")]
                    instance.step(body, #changes, |agent, ctx, it: #takes| #call)
                },
            }
        }
    }

    fn start(&self, name: &Ident) -> TokenStream {
        let config = self.takes.as_ref().map(|takes| {
            quote! {
                let it = <#takes as ::skep_sdk::__private::FromConfig>::from_config(config)
                    .map_err(::skep_sdk::Refusal::Invalid)?;
            }
        });
        let call = self.call(name);
        quote! {
            #[allow(unused_variables, reason = "a handler need not take everything")]
            fn start(&mut self, ctx: &mut ::skep_sdk::Context, config: ::skep_sdk::Config) -> ::skep_sdk::Result<()> {
                #config
                let agent = self;
                ::skep_sdk::Respond::<(), _>::respond(#call).map(::core::mem::drop)
            }
        }
    }

    fn stop(&self, name: &Ident) -> TokenStream {
        let call = self.call(name);
        quote! {
            #[allow(unused_variables, reason = "a handler need not take everything")]
            fn stop(&mut self, ctx: &mut ::skep_sdk::Context, it: ::skep_sdk::ExitReason) -> ::skep_sdk::Result<()> {
                let agent = self;
                ::skep_sdk::Respond::<(), _>::respond(#call).map(::core::mem::drop)
            }
        }
    }

    fn migrate(&self, name: &Ident) -> TokenStream {
        let ctx = self.ctx.then(|| quote!(ctx,));
        let it = self.takes.as_ref().map(|_| quote!(it));
        quote! {
            const MIGRATE: ::core::option::Option<
                fn(&mut ::skep_sdk::Context, ::skep_sdk::Stored) -> ::skep_sdk::Result<Self>,
            > = {
                #[allow(unused_variables, reason = "a handler need not take everything")]
                ::core::option::Option::Some(|ctx, it| Self::#name(#ctx #it))
            };
        }
    }
}

fn is_context(argument: &PatType) -> bool {
    let Type::Reference(reference) = &*argument.ty else { return false };
    matches!(&*reference.elem, Type::Path(TypePath { path, .. })
        if path.segments.last().is_some_and(|segment| segment.ident == "Context"))
}

/// Takes the attribute that says what a method is for, if there is one.
fn role(method: &mut ImplItemFn) -> Result<Role> {
    let mut role = match method.sig.ident.to_string().as_str() {
        "start" => Role::Start,
        "stop" => Role::Stop,
        "migrate" => Role::Migrate,
        _ => Role::Message,
    };
    let mut kept = Vec::new();
    for attribute in std::mem::take(&mut method.attrs) {
        match role_of(&attribute)? {
            None => kept.push(attribute),
            Some(found) if matches!(role, Role::Message) => role = found,
            Some(_) => return Err(syn::Error::new_spanned(attribute, "a method is one handler only")),
        }
    }
    method.attrs = kept;
    if matches!(role, Role::Message)
        && matches!(&method.sig.output, ReturnType::Type(_, ty) if matches!(**ty, Type::Reference(_)))
    {
        return Err(syn::Error::new_spanned(&method.sig.output, "a reply is a value of its own, not a reference"));
    }
    Ok(role)
}

fn role_of(attribute: &Attribute) -> Result<Option<Role>> {
    if attribute.path().is_ident("timer") {
        let name = match &attribute.meta {
            syn::Meta::Path(_) => String::new(),
            _ => attribute.parse_args::<LitStr>()?.value(),
        };
        return Ok(Some(Role::Timer(name)));
    }
    let one = ONE.iter().find(|(name, _)| attribute.path().is_ident(name));
    Ok(one.map(|(_, constant)| Role::One(constant)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an impl that is wrong.
    fn error(item: &str) -> String {
        let item = item.parse().unwrap();
        expand(TokenStream::new(), item).map(|tokens| tokens.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_handler_is_refused_with_what_one_is() {
        let cases = [
            ("impl A { fn help(&self) {} }", "takes its message last"),
            ("impl A { fn help(self, m: M) {} }", "takes `&self` or `&mut self`"),
            ("impl A { fn help(m: M) {} }", "takes `&self` or `&mut self`"),
            ("impl A { fn many(&self, ctx: &mut Context, m: M, n: N) {} }", "and no more"),
            ("impl A { #[answer] #[down] fn both(&self, m: Answer) {} }", "one handler only"),
            ("impl A { #[down] fn one(&self, m: Down) {} #[down] fn two(&self, m: Down) {} }", "already"),
            ("impl A { fn text(&self, m: M) -> &str { \"\" } }", "not a reference"),
            ("impl A { fn migrate(&self, old: Stored) -> Result<Self> {} }", "no `self`"),
            ("impl T for A {}", "without a trait"),
        ];
        for (item, expect) in cases {
            let error = error(item);
            assert!(error.contains(expect), "{item}: {error}");
        }
    }
}
