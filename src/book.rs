//! The guide as a part of this documentation, with a module for each page of `docs`

/// Makes the module `guide`, with a module for each page, and the examples of the pages into tests.
///
/// A page refers to another page as `[text][page]` or `[text][page#heading]`, and says in its last lines which
/// files these are. Here, the lines of `links` come first, and the first line counts: each leads to the module
/// of the page. A page that needs a feature is empty without it.
macro_rules! pages {
    ($($name:ident $file:literal $(if $feature:literal)? [$($heading:literal)*])*) => {
        macro_rules! links {
            () => {
                concat!($(
                    "[", $file, "]: crate::guide::", stringify!($name), "\n",
                    $("[", $file, "#", $heading, "]: crate::guide::", stringify!($name), "#", $heading, "\n",)*
                )* "\n")
            };
        }
        #[doc = links!()]
        #[doc = include_str!("../docs/SUMMARY.md")]
        #[doc = "\nEach page is a module. The same pages are a book in the directory `docs` of the project."]
        pub mod guide {
            $(pages!(@page $name $file $($feature)?);)*
        }
    };
    (@page $name:ident $file:literal) => {
        #[doc = links!()]
        #[doc = include_str!("../docs/img/pictures.md")]
        #[doc = include_str!(concat!("../docs/", $file, ".md"))]
        pub mod $name {}
    };
    (@page $name:ident $file:literal $feature:literal) => {
        #[cfg_attr(feature = $feature, doc = links!())]
        #[cfg_attr(feature = $feature, doc = include_str!(concat!("../docs/", $file, ".md")))]
        #[cfg_attr(not(feature = $feature), doc = concat!("This page needs the feature `", $feature, "`."))]
        pub mod $name {}
    };
}

pages! {
    getting_started "getting-started" []
    tutorial "tutorial" []
    tutorial_accounts "tutorial-accounts" []
    tutorial_entries "tutorial-entries" []
    tutorial_sessions "tutorial-sessions" []
    tutorial_redis "tutorial-redis" []
    recipes "recipes" if "perl" []
    recipe_member "recipe-member" []
    recipe_templates "recipe-templates" []
    recipe_scripts "recipe-scripts" []
    recipe_admin "recipe-admin" ["log-out-everywhere"]
    how_it_works "how-it-works" ["renewal" "streams-and-websockets" "the-cookie" "what-may-change-between-versions"]
    user_sessions "user-sessions" ["how-it-works"]
    lifetimes "lifetimes" ["a-fresh-proof-of-identity" "levels-of-nist-sp-800-63b-4" "new-ids-by-age" "remember-me" "the-grace-after-a-renewal"]
    notifications "notifications" []
    form_tokens "form-tokens" []
    header_sessions "header-sessions" []
    cache "cache" []
    rate_limits "rate-limits" ["numbers-in-rockettoml"]
    several_kinds "several-kinds" []
    testing "testing" []
    store_directory "store-directory" ["what-survives-a-failure"]
    store_redis "store-redis" if "redis" ["in-production" "rights" "what-survives-a-failure"]
    store_memcached "store-memcached" if "memcached" ["a-full-server" "in-production"]
    store_postgres "store-postgres" if "postgres" ["in-production" "rights" "what-survives-a-failure"]
    store_mysql "store-mysql" if "mysql" ["in-production" "rights" "what-survives-a-failure"]
    store_sqlite "store-sqlite" if "sqlite" ["in-production" "what-survives-a-failure"]
    store_own "store-own" ["the-command-line"]
    operations "operations" ["back-ups" "containers" "memory-and-disk" "moving-between-stores"]
    monitoring "monitoring" if "metrics" ["you-were-signed-out"]
    command_line "command-line" ["importing" "moving-to-another-store"]
    costs "costs" ["system-calls-of-the-directory-store"]
    performance "performance" ["the-number-of-sessions"]
    security "security" []
    asvs "asvs" []
    troubleshooting "troubleshooting" []
    from_private_cookies "from-private-cookies" ["old-cookies"]
    from_rocket_flex_session "from-rocket-flex-session" []
    from_tower_sessions "from-tower-sessions" []
    coming_from "coming-from" []
    import "import" if "import" []
    perl "perl" if "perl" []
    storable "storable" if "perl" []
    configuration "configuration" ["all-settings" "behind-a-proxy"]
    settings "settings" []
    features "features" []
    design "design" ["memcached" "redis" "sql"]
    mutants "mutants" []
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
