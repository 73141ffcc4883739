//! The generated bindings of `skep:agent`. Never named by an author: the other modules wrap them, [`crate::raw`] shows
//! them to those who want them bare.

wit_bindgen::generate!({
    path: "../../wit",
    world: "agent",
    pub_export_macro: true,
    export_macro_name: "export_guest",
    default_bindings_module: "skep_sdk::raw",
    additional_derives: [PartialEq],
});
