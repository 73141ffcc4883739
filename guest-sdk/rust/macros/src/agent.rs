//! `#[agent]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Field, Fields, Index, ItemStruct, LitInt, Result, parse_quote};

use crate::data::add_serde;

#[derive(Default)]
struct Options {
    persist: bool,
    version: Option<LitInt>,
    batch_max: Option<LitInt>,
}

impl Options {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("persist") {
            self.persist = true;
        } else if meta.path.is_ident("version") {
            self.version = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("batch_max") {
            self.batch_max = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("expected `persist`, `version = 1` or `batch_max = 1`"));
        }
        Ok(())
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut read = Options::default();
    syn::meta::parser(|meta| read.read(&meta)).parse2(options)?;
    let mut item: ItemStruct = syn::parse2(item)?;
    if !item.generics.params.is_empty() {
        return Err(syn::Error::new_spanned(&item.generics, "a component has one agent, so it cannot be generic"));
    }
    let version = version(&read)?;
    let persist = persist(&mut item, &read, version)?;
    let batch_max = read.batch_max.map_or(Ok(0), |count| count.base10_parse::<u32>())?;
    let name = &item.ident;
    let component = component(name);
    Ok(quote! {
        #item
        impl ::skep_sdk::Agent for #name {
            const BATCH_MAX: u32 = #batch_max;
            const PERSIST: ::core::option::Option<&'static ::skep_sdk::__private::Persist<Self>> = #persist;
        }
        #component
    })
}

fn version(options: &Options) -> Result<u32> {
    let Some(version) = &options.version else { return Ok(1) };
    match version.base10_parse::<u32>()? {
        0 => Err(syn::Error::new_spanned(version, "versions start at 1: 0 is state that was never stored")),
        _ if !options.persist => {
            Err(syn::Error::new_spanned(version, "only what is kept has a version: add `persist`"))
        }
        version => Ok(version),
    }
}

fn persist(item: &mut ItemStruct, options: &Options, version: u32) -> Result<TokenStream> {
    let skipped = skipped(&mut item.fields, options.persist)?;
    if !options.persist {
        return Ok(quote!(::core::option::Option::None));
    }
    add_serde(&mut item.attrs, true)?;
    Ok(quote! {
        ::core::option::Option::Some(&::skep_sdk::__private::Persist {
            version: #version,
            save: |agent, out| ::skep_sdk::serde_json::to_writer(out, agent),
            load: |agent, json| {
                let mut loaded: Self = ::skep_sdk::serde_json::from_str(json)?;
                #(::core::mem::swap(&mut loaded.#skipped, &mut agent.#skipped);)*
                *agent = loaded;
                ::core::result::Result::Ok(())
            },
        })
    })
}

/// The fields with `#[skep(skip)]`, which becomes serde's own.
fn skipped(fields: &mut Fields, persist: bool) -> Result<Vec<TokenStream>> {
    let mut skipped = Vec::new();
    for (index, field) in fields.iter_mut().enumerate() {
        if take_skip(field, persist)? {
            let index = Index::from(index);
            skipped.push(field.ident.as_ref().map_or_else(|| quote!(#index), |name| quote!(#name)));
        }
    }
    Ok(skipped)
}

fn take_skip(field: &mut Field, persist: bool) -> Result<bool> {
    let Some(at) = field.attrs.iter().position(|attribute| attribute.path().is_ident("skep")) else { return Ok(false) };
    let attribute = field.attrs.remove(at);
    attribute.parse_nested_meta(|meta| {
        if meta.path.is_ident("skip") { Ok(()) } else { Err(meta.error("expected `skip`")) }
    })?;
    if !persist {
        return Err(syn::Error::new_spanned(
            attribute,
            "nothing is kept that could be skipped: add `#[agent(persist)]`",
        ));
    }
    field.attrs.push(parse_quote!(#[serde(skip)]));
    Ok(true)
}

/// What makes the agent the component's export. The instance is in a thread-local because exports have no `self`.
fn component(name: &syn::Ident) -> TokenStream {
    let component = format_ident!("{name}Component");
    quote! {
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: ::core::cell::RefCell<::skep_sdk::__private::Instance<#name>> = ::core::default::Default::default();
            }

            #[doc(hidden)]
            pub struct #component;

            impl ::skep_sdk::raw::Guest for #component {
                fn describe() -> ::skep_sdk::raw::Traits {
                    ::skep_sdk::__private::Instance::<#name>::describe()
                }

                fn start(
                    config: ::std::string::String,
                    why: ::skep_sdk::raw::types::StartReason,
                ) -> ::core::result::Result<(), ::skep_sdk::raw::types::TurnError> {
                    INSTANCE.with_borrow_mut(|instance| instance.start(config, why))
                }

                fn handle(
                    names: ::std::vec::Vec<(u32, ::std::string::String)>,
                    messages: ::std::vec::Vec<::skep_sdk::raw::types::Message>,
                ) -> ::core::result::Result<u32, ::skep_sdk::raw::types::TurnError> {
                    INSTANCE.with_borrow_mut(|instance| instance.handle(names, messages))
                }

                fn migrate(
                    from_digest: ::std::string::String,
                ) -> ::core::result::Result<(), ::skep_sdk::raw::types::TurnError> {
                    INSTANCE.with_borrow_mut(|instance| instance.migrate(from_digest))
                }

                fn stop(
                    reason: ::skep_sdk::raw::types::ExitReason,
                ) -> ::core::result::Result<(), ::skep_sdk::raw::types::TurnError> {
                    INSTANCE.with_borrow_mut(|instance| instance.stop(reason))
                }
            }

            ::skep_sdk::export_raw!(#component);
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused_with_the_reason() {
        let cases = [
            ("", "struct A<T> { t: T }", "cannot be generic"),
            ("persist, version = 0", "struct A;", "start at 1"),
            ("version = 2", "struct A;", "add `persist`"),
            ("", "struct A { #[skep(skip)] a: u8 }", "nothing is kept"),
            ("persist", "struct A { #[skep(drop)] a: u8 }", "expected `skip`"),
            ("presist", "struct A;", "expected `persist`"),
            ("persist", "enum A {}", "expected `struct`"),
        ];
        for (options, item, expect) in cases {
            let error = expand(options.parse().unwrap(), item.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(expect), "{options} {item}: {error}");
        }
    }
}
