//! Random numbers that a seed repeats, and text made of forms with placeholders.

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Fills in a form: `{name}` becomes one of the forms called `name`, again filled in; `{s}` is the session's number.
pub fn fill(form: &str, forms: &[(&str, &[&str])], session: usize, random: &mut Random) -> String {
    let mut out = String::new();
    let mut rest = form;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or_else(|| panic!("no end of a placeholder: {form}"));
        if name == "s" {
            out.push_str(&session.to_string());
        } else {
            let (_, choices) = forms
                .iter()
                .find(|(known, _)| *known == name)
                .unwrap_or_else(|| panic!("no such placeholder: {name} in {form}"));
            let choice = random.pick(choices);
            // Deep enough: the first form of each is the simplest.
            let choice = if out.len() > 400 { choices[0] } else { choice };
            out.push_str(&fill(choice, forms, session, random));
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
