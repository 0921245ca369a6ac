//! The two knobs, what they are turned to, and what chance decides of a payment.

use std::time::Duration;

/// Milliseconds that each knob is turned to while the other one is at none.
pub const DELAYS_MS: [u64; 7] = [0, 50, 200, 500, 1_000, 2_000, 5_000];

/// The same for a run of a minute or two.
const DELAYS_SHORT_MS: [u64; 2] = [0, 1_000];

/// The heavy-tailed mix: a Pareto distribution from the first value on, cut off at the second. Half of the delays are
/// below 94 ms, one in ten above 406, one in a hundred above 3,300.
const TAIL_MS: [f64; 2] = [50.0, 5_000.0];
const TAIL_EXPONENT: f64 = 1.1;

/// How a delay comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// The same each time.
    Fixed(u64),
    /// Drawn from the heavy-tailed mix.
    Mixed,
}

/// Which of the knobs a setting turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// How long the merchant's system works on an order.
    Processing,
    /// A round trip over the merchant's network.
    Network,
    /// Both, each as it is drawn.
    Both,
}

impl Knob {
    /// Its name in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Knob::Processing => "processing",
            Knob::Network => "network",
            Knob::Both => "both",
        }
    }
}

/// How the knobs are turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Which is turned; the other one is at none.
    pub knob: Knob,
    /// To what.
    pub delay: Delay,
}

impl Setting {
    /// All settings of a run, or those of a short one.
    pub fn all(short: bool) -> Vec<Setting> {
        Self::of(if short { &DELAYS_SHORT_MS } else { &DELAYS_MS })
    }

    /// Each knob at each of these delays, and the mix. No delay at all is there once.
    pub fn of(delays_ms: &[u64]) -> Vec<Setting> {
        let fixed = |knob: Knob| {
            let wanted = delays_ms.iter().filter(move |delay_ms| knob == Knob::Processing || **delay_ms > 0);
            wanted.map(move |delay_ms| Setting { knob, delay: Delay::Fixed(*delay_ms) })
        };
        let mixed = Setting { knob: Knob::Both, delay: Delay::Mixed };
        fixed(Knob::Processing).chain(fixed(Knob::Network)).chain([mixed]).collect()
    }

    /// In words.
    pub fn words(&self) -> String {
        match (self.knob, self.delay) {
            (_, Delay::Fixed(0)) => "no delay".to_owned(),
            (Knob::Processing, Delay::Fixed(delay_ms)) => format!("processing {delay_ms} ms"),
            (Knob::Network, Delay::Fixed(delay_ms)) => format!("network {delay_ms} ms"),
            (_, Delay::Fixed(delay_ms)) => format!("both {delay_ms} ms"),
            (_, Delay::Mixed) => "heavy-tailed mix".to_owned(),
        }
    }

    /// The fixed delay in milliseconds; none of a mix.
    pub fn fixed_ms(&self) -> Option<u64> {
        if let Delay::Fixed(delay_ms) = self.delay { Some(delay_ms) } else { None }
    }

    /// What chance decides of the payments with this number. The same for all flows, so that they are compared like with
    /// like.
    pub fn draw(&self, chance: &mut Chance) -> Drawn {
        let mut of = |turned: bool| match self.delay {
            _ if !turned => Duration::ZERO,
            Delay::Fixed(delay_ms) => Duration::from_millis(delay_ms),
            Delay::Mixed => {
                let [least, most] = TAIL_MS;
                let ms = (least * chance.share().max(f64::MIN_POSITIVE).powf(-1.0 / TAIL_EXPONENT)).min(most);
                Duration::from_secs_f64(ms / 1000.0)
            }
        };
        let processing = of(self.knob != Knob::Network);
        let network = of(self.knob != Knob::Processing);
        Drawn { processing, network, frame_phase: chance.share() }
    }
}

/// What chance decides of a payment.
#[derive(Clone, Copy, Debug)]
pub struct Drawn {
    /// How long the merchant's system works on the order.
    pub processing: Duration,
    /// A round trip over the merchant's network.
    pub network: Duration,
    /// How much of a frame's time is over when the payer is asked to look or touch, 0 to 1.
    pub frame_phase: f64,
}

/// Numbers that look like chance and are the same for the same seed. Source: Steele, Lea and Flood, SplitMix64, 2014.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// By a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// All 64 bits of the next number.
    pub fn whole(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0 and less than 1.
    pub fn share(&mut self) -> f64 {
        (self.whole() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Puts a list into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            let place = (self.share() * (end + 1) as f64) as usize;
            list.swap(end, place.min(end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_knob_is_swept_and_no_setting_comes_twice() {
        let settings = Setting::all(false);
        assert_eq!(settings.len(), 2 * DELAYS_MS.len());
        for (index, setting) in settings.iter().enumerate() {
            assert!(!settings[..index].contains(setting), "{setting:?}");
        }
        assert!(Setting::all(true).len() < settings.len());
    }

    #[test]
    fn a_setting_turns_its_own_knob_only() {
        let mut chance = Chance::new(1);
        let drawn = Setting { knob: Knob::Network, delay: Delay::Fixed(200) }.draw(&mut chance);
        assert_eq!((drawn.processing, drawn.network), (Duration::ZERO, Duration::from_millis(200)));
    }

    #[test]
    fn the_mix_has_the_tail_that_is_said_of_it() {
        let setting = Setting { knob: Knob::Both, delay: Delay::Mixed };
        let mut chance = Chance::new(7);
        let mut drawn: Vec<u128> =
            (0..20_000).map(|_| setting.draw(&mut chance).network.as_millis()).collect();
        drawn.sort_unstable();
        let at = |share: f64| drawn[(drawn.len() as f64 * share) as usize];
        assert!((90..=98).contains(&at(0.5)), "{}", at(0.5));
        assert!((380..=430).contains(&at(0.9)), "{}", at(0.9));
        assert!((2_800..=3_800).contains(&at(0.99)), "{}", at(0.99));
        assert!((50..=5_000).contains(&drawn[0]) && drawn[drawn.len() - 1] <= 5_000);
    }

    #[test]
    fn a_shuffled_list_has_what_it_had() {
        let mut list: Vec<u32> = (0..50).collect();
        Chance::new(3).shuffle(&mut list);
        assert!(!list.is_sorted());
        list.sort_unstable();
        assert_eq!(list, (0..50).collect::<Vec<_>>());
    }
}
