//! The generated bindings of `skep:protocol`. Never named by an author: its plain records and variants are shown again
//! at the root of the crate, the rest is behind [`crate::Protocol`].

wit_bindgen::generate!({
    path: "../../../wit/protocol",
    world: "checked-protocol",
    pub_export_macro: true,
    export_macro_name: "export_protocol",
    default_bindings_module: "skep_protocol::__private",
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
