//! Patterns of names: `*` for any characters, `?` for one.

/// Returns whether `pattern` matches the whole of `name`.
///
/// It takes no more steps than the product of their lengths, whatever the pattern.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // The last star, and where what it stands for ends so far.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&sign) if sign == '?' || sign == name[n] => (p, n) = (p + 1, n + 1),
            _ => match &mut star {
                Some((at, end)) => {
                    *end += 1;
                    (p, n) = (*at + 1, *end);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&sign| sign == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_match_any_text_and_question_marks_one_character() {
        for (pattern, name, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "a/b:c", true),
            ("?", "", false),
            ("?", "é", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("a?c*", "abcdef", true),
            ("*.*", "a.b.c", true),
            ("[ab]", "a", false),
            ("[ab]", "[ab]", true),
            ("\\*", "*", false),
            ("**b**", "abc", true),
            ("*ab*ab", "abab", true),
            ("*ab?", "abab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let (pattern, name) = ("*a".repeat(2000) + "b", "a".repeat(4000));
        assert!(!matches(&pattern, &name));
    }

    /// The same by its definition, which takes for ever on long ones.
    fn by_definition(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', rest)), _) => {
                (0..=name.len()).any(|taken| by_definition(rest, &name[taken..]))
            }
            (Some(('?', rest)), Some((_, name))) => by_definition(rest, name),
            (Some((sign, rest)), Some((first, name))) => sign == first && by_definition(rest, name),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_matcher_agrees_with_the_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                matches(&pattern, &name),
                by_definition(&chars(&pattern), &chars(&name))
            );
        }
    }
}
