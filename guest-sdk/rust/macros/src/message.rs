//! `#[message]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::Parser;
use syn::{Fields, Ident, Item, ItemStruct, LitStr, Result, Type};

use crate::data::add_serde;

#[derive(Default)]
struct Options {
    kind: Option<LitStr>,
    reply: Option<Type>,
    raw: bool,
}

impl Options {
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("kind") {
            self.kind = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("reply") {
            self.reply = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("raw") {
            self.raw = true;
        } else {
            return Err(meta.error("expected `kind = \"...\"`, `reply = Type` or `raw`"));
        }
        Ok(())
    }
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let mut read = Options::default();
    syn::meta::parser(|meta| read.read(&meta)).parse2(options)?;
    let mut item: Item = syn::parse2(item)?;
    let (name, generics) = match &item {
        Item::Struct(item) => (item.ident.clone(), &item.generics),
        Item::Enum(item) => (item.ident.clone(), &item.generics),
        other => return Err(syn::Error::new_spanned(other, "`#[message]` is for a struct or an enum")),
    };
    if !generics.params.is_empty() {
        return Err(syn::Error::new_spanned(generics, "a message has one kind, so it cannot be generic"));
    }
    let body = match &mut item {
        Item::Struct(item) if read.raw => raw(item)?,
        Item::Struct(item) if matches!(item.fields, Fields::Unit) => unit(item)?,
        Item::Struct(item) => serde(&mut item.attrs)?,
        Item::Enum(item) if !read.raw => serde(&mut item.attrs)?,
        other => return Err(syn::Error::new_spanned(other, "`raw` is for a newtype over `Vec<u8>`")),
    };
    let kind = read.kind.map_or_else(|| kebab(&name), |kind| kind.value());
    let reply = read.reply.map_or_else(|| quote!(()), |reply| quote!(#reply));
    Ok(quote! {
        #item
        #body
        impl ::skep_sdk::Message for #name {
            const KIND: &'static str = #kind;
            type Reply = #reply;
        }
    })
}

fn serde(attributes: &mut Vec<syn::Attribute>) -> Result<TokenStream> {
    add_serde(attributes, true)?;
    Ok(TokenStream::new())
}

/// A message without fields can be written as nothing, `null` or `{}`; serde takes only `null`.
fn unit(item: &mut ItemStruct) -> Result<TokenStream> {
    add_serde(&mut item.attrs, false)?;
    let name = &item.ident;
    Ok(quote! {
        impl<'de> ::skep_sdk::serde::Deserialize<'de> for #name {
            fn deserialize<D: ::skep_sdk::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                ::skep_sdk::__private::unit(deserializer)?;
                ::core::result::Result::Ok(Self)
            }
        }
    })
}

fn raw(item: &ItemStruct) -> Result<TokenStream> {
    let newtype = matches!(&item.fields, Fields::Unnamed(fields) if fields.unnamed.len() == 1);
    if !newtype {
        return Err(syn::Error::new_spanned(item, "`raw` is for a newtype over `Vec<u8>`"));
    }
    let name = &item.ident;
    Ok(quote! {
        impl ::skep_sdk::Body for #name {
            fn encode(&self) -> ::core::result::Result<::std::borrow::Cow<'_, [u8]>, ::std::string::String> {
                ::core::result::Result::Ok(::std::borrow::Cow::Borrowed(&self.0))
            }

            fn decode(bytes: ::std::vec::Vec<u8>) -> ::core::result::Result<Self, ::std::string::String> {
                ::core::result::Result::Ok(Self(bytes))
            }
        }
    })
}

/// `AddItem` is `add-item`, `HTTPGet` is `http-get`.
fn kebab(name: &Ident) -> String {
    let name = name.to_string();
    let chars: Vec<char> = name.strip_prefix("r#").unwrap_or(&name).chars().collect();
    let mut kebab = String::new();
    for (at, letter) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        let after = chars.get(at.saturating_add(1));
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| !before.is_uppercase() || after.is_some_and(|after| after.is_lowercase()));
        if starts_word && !kebab.ends_with('-') {
            kebab.push('-');
        }
        kebab.extend(if *letter == '_' { '-' } else { *letter }.to_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_names_in_kebab_case() {
        let cases = [
            ("Add", "add"),
            ("AddItem", "add-item"),
            ("HTTPGet", "http-get"),
            ("GetV2", "get-v2"),
            ("Sha256Of", "sha256-of"),
            ("A", "a"),
            ("With_Score", "with-score"),
        ];
        for (name, kind) in cases {
            assert_eq!(kebab(&syn::parse_str(name).unwrap()), kind);
        }
    }
    #[test]
    fn what_is_no_message_is_refused_with_the_reason() {
        let cases = [
            ("", "struct A<T> { t: T }", "cannot be generic"),
            ("raw", "struct A { a: Vec<u8> }", "newtype"),
            ("raw", "enum A {}", "newtype"),
            ("", "fn a() {}", "struct or an enum"),
            ("king = \"a\"", "struct A;", "expected `kind"),
        ];
        for (options, item, expect) in cases {
            let error = expand(options.parse().unwrap(), item.parse().unwrap()).unwrap_err().to_string();
            assert!(error.contains(expect), "{options} {item}: {error}");
        }
    }
}
