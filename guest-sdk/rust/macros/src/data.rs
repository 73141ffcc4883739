//! `#[data]`, and what the other attributes share with it: serde's derives without serde in the author's manifest.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Path, Result, Token, parse_quote};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !options.is_empty() {
        return Err(syn::Error::new_spanned(options, "`#[data]` has no options"));
    }
    let mut item: Item = syn::parse2(item)?;
    match &mut item {
        Item::Struct(item) => add_serde(&mut item.attrs, true)?,
        Item::Enum(item) => add_serde(&mut item.attrs, true)?,
        other => return Err(syn::Error::new_spanned(other, "`#[data]` is for a struct or an enum")),
    }
    Ok(item.into_token_stream())
}

/// Adds `derive(Serialize, Deserialize)` where they are missing.
pub(crate) fn add_serde(attributes: &mut Vec<Attribute>, deserialize: bool) -> Result<()> {
    let has = (derives(attributes, "Serialize")?, derives(attributes, "Deserialize")?);
    let mut missing = Vec::new();
    if !has.0 {
        missing.push(quote!(::skep_sdk::serde::Serialize));
    }
    if deserialize && !has.1 {
        missing.push(quote!(::skep_sdk::serde::Deserialize));
    }
    if missing.is_empty() {
        return Ok(());
    }
    // Serde's own derives would look for a crate `serde` that the author need not have.
    if has == (false, false) {
        attributes.insert(0, parse_quote!(#[serde(crate = "::skep_sdk::serde")]));
    }
    // First of all: the author's `#[serde(...)]` must stand below the derive that they are for.
    attributes.insert(0, parse_quote!(#[derive(#(#missing),*)]));
    Ok(())
}

fn derives(attributes: &[Attribute], name: &str) -> Result<bool> {
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("derive")) {
        let paths = attribute.parse_args_with(Punctuated::<Path, Token![,]>::parse_terminated)?;
        if paths.iter().any(|path| path.segments.last().is_some_and(|segment| segment.ident == name)) {
            return Ok(true);
        }
    }
    Ok(false)
}
