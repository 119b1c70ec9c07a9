//! The macro that defines a table of settings, and the source of `docs/settings.md`.
//!
//! The type, the default and the documentation of a key are in one place. The page is made from them.

/// Defines the struct of one table of `Rocket.toml`. Each field has its documentation, its type and
/// its default. The fields under `tables` are the tables inside it.
///
/// The first line of a struct's documentation is the name of the table. The other lines, and those
/// of the fields, are printed in `docs/settings.md`, so they address the users of this crate.
macro_rules! settings {
    (
        #[doc = $table:literal]
        $(#[doc = $about:literal])*
        #[derive($($derive:ident),+)]
        pub(crate) struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($serde:ident)])?
                pub(crate) $key:ident: $type:ty = $default:expr,
            )+
        }
        $(tables { $($(#[cfg(feature = $feature:literal)])? pub(crate) $inner:ident: $config:ty,)+ })?
    ) => {
        #[doc = $table]
        $(#[doc = $about])*
        #[derive($($derive),+)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($serde)])?
                pub(crate) $key: $type,
            )+
            $($($(#[cfg(feature = $feature)])? pub(crate) $inner: $config,)+)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($key: $default,)+
                    $($($(#[cfg(feature = $feature)])? $inner: <$config>::default(),)+)?
                }
            }
        }

        #[cfg(all(test, feature = "perl"))]
        impl crate::config::page::Table for $name {
            const NAME: &'static str = $table;
            const ABOUT: &'static [&'static str] = &[$($about),*];

            fn settings() -> Vec<crate::config::page::Setting> {
                vec![$(
                    crate::config::page::Setting::of::<$type>(stringify!($key), &[$($doc),+]),
                )+]
            }
        }
    };
}

pub(super) use settings;
