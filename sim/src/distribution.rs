//! From one raw `u64` to a value: the distributions that decisions are drawn from.
//!
//! Each is a monotone function of the raw number, and zero is the **neutral** end: `false`, the lowest number, the
//! shortest time, the first choice. Parameters and values are integers; what lies between goes through `libm`, so every
//! operating system and processor computes the same value. Times are whole nanoseconds.
//!
//! Where the raw number comes from is not known here; see [`crate::decide`].

/// A function from a raw number to a value.
pub trait Distribution {
    /// What is drawn.
    type Value;

    /// The value for this raw number. Zero gives the neutral value.
    fn value(&self, raw: u64) -> Self::Value;

    /// The value, when it does not depend on the raw number; it need not be computed then.
    fn constant(&self) -> Option<Self::Value> {
        None
    }
}

/// `true` in `numer` of `denom` cases. Neutral: `false`, unless it is certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio {
    /// How many.
    pub numer: u64,
    /// Of how many; never zero.
    pub denom: u64,
}

impl Ratio {
    /// Never.
    pub const ZERO: Self = Self { numer: 0, denom: 1 };
    /// Always.
    pub const ONE: Self = Self { numer: 1, denom: 1 };

    /// `numer / denom`.
    pub const fn new(numer: u64, denom: u64) -> Self {
        assert!(denom > 0 && numer <= denom, "a ratio is between 0 and 1");
        Self { numer, denom }
    }

    /// The larger of the two.
    pub fn or_more(self, other: Self) -> Self {
        let (left, right) = (u128::from(self.numer), u128::from(other.numer));
        if right * u128::from(self.denom) > left * u128::from(other.denom) {
            other
        } else {
            self
        }
    }

    /// About the chance that one of `n` tries succeeds: never above nine tenths, unless one try is.
    pub fn any_of(self, n: u64) -> Self {
        let most = self.numer.max(self.denom / 10 * 9);
        Self { numer: self.numer.saturating_mul(n).min(most), denom: self.denom }
    }
}

impl Distribution for Ratio {
    type Value = bool;

    fn value(&self, raw: u64) -> bool {
        debug_assert!(self.denom > 0, "a ratio has a denominator");
        scale(raw, self.denom).0 >= self.denom - self.numer
    }

    fn constant(&self) -> Option<bool> {
        match self.numer {
            0 => Some(false),
            numer if numer >= self.denom => Some(true),
            _ => None,
        }
    }
}

/// Something that happens in some cases only, and then has a value; one raw number decides both. Neutral: `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sometimes<D>(pub Ratio, pub D);

impl<D: Distribution> Distribution for Sometimes<D> {
    type Value = Option<D::Value>;

    fn value(&self, raw: u64) -> Option<D::Value> {
        let (at, rest) = scale(raw, self.0.denom);
        (at >= self.0.denom - self.0.numer).then(|| self.1.value(rest))
    }

    fn constant(&self) -> Option<Option<D::Value>> {
        (self.0.numer == 0).then_some(None)
    }
}

/// A number below this one, each equally likely. Neutral: zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Below(pub u64);

impl Distribution for Below {
    type Value = u64;

    fn value(&self, raw: u64) -> u64 {
        scale(raw, self.0.max(1)).0
    }

    fn constant(&self) -> Option<u64> {
        (self.0 <= 1).then_some(0)
    }
}

/// A number from the first to the second, both included, each equally likely. Neutral: the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range(pub u64, pub u64);

impl Distribution for Range {
    type Value = u64;

    fn value(&self, raw: u64) -> u64 {
        let width = self.1.saturating_sub(self.0);
        if width == u64::MAX {
            return raw;
        }
        self.0 + scale(raw, width + 1).0
    }

    fn constant(&self) -> Option<u64> {
        (self.1 <= self.0).then_some(self.0)
    }
}

/// A number from minus this one to plus this one, each equally likely. Neutral: zero; a small raw number is a small
/// deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symmetric(pub u64);

impl Distribution for Symmetric {
    type Value = i64;

    fn value(&self, raw: u64) -> i64 {
        let reach = self.0.min(i64::MAX as u64 / 2);
        let folded = scale(raw, 2 * reach + 1).0;
        let size = folded.div_ceil(2) as i64;
        if folded % 2 == 0 {
            size
        } else {
            -size
        }
    }

    fn constant(&self) -> Option<i64> {
        (self.0 == 0).then_some(0)
    }
}

/// The index of one of these weights, as often as it weighs. Neutral: the first.
#[derive(Clone, Copy, Debug)]
pub struct Weighted<'a>(pub &'a [u64]);

impl Weighted<'_> {
    /// The index, and a fresh raw number from the bits that choosing it did not use.
    fn split(&self, raw: u64) -> (usize, u64) {
        let total: u64 = self.0.iter().sum();
        assert!(total > 0, "weights that are all zero choose nothing");
        let (mut at, rest) = scale(raw, total);
        for (index, &weight) in self.0.iter().enumerate() {
            if at < weight {
                return (index, rest);
            }
            at -= weight;
        }
        unreachable!("a number below the total is below one of the partial sums")
    }
}

impl Distribution for Weighted<'_> {
    type Value = usize;

    fn value(&self, raw: u64) -> usize {
        self.split(raw).0
    }
}

/// Waiting times of a process without memory, with this mean in nanoseconds. Neutral: zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exponential(pub u64);

impl Distribution for Exponential {
    type Value = u64;

    fn value(&self, raw: u64) -> u64 {
        whole(-libm::log1p(-unit(raw)) * self.0 as f64)
    }
}

/// Deviations around zero with this standard deviation. Neutral: zero; a small raw number is a small deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normal(pub u64);

impl Distribution for Normal {
    type Value = i64;

    fn value(&self, raw: u64) -> i64 {
        let size = whole(inverse_normal(0.5 + unit(raw) / 2.0) * self.0 as f64).min(i64::MAX as u64) as i64;
        if raw % 2 == 0 {
            size
        } else {
            -size
        }
    }

    fn constant(&self) -> Option<i64> {
        (self.0 == 0).then_some(0)
    }
}

/// One shape of a latency, in nanoseconds. Neutral: the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lognormal: `exp(ln(median) + sigma * z)`.
    LogNormal {
        /// Median, in nanoseconds.
        median: u64,
        /// Standard deviation of the logarithm, in thousandths.
        sigma_milli: u64,
    },
    /// The same after a constant.
    ShiftedLogNormal {
        /// The constant, in nanoseconds.
        shift: u64,
        /// Median of the rest, in nanoseconds.
        median: u64,
        /// Standard deviation of its logarithm, in thousandths.
        sigma_milli: u64,
    },
    /// Pareto; what would be above the cap is the cap.
    Pareto {
        /// The least value, in nanoseconds.
        min: u64,
        /// The exponent, in thousandths; smaller is heavier.
        alpha_milli: u64,
        /// The cap, in nanoseconds.
        cap: u64,
    },
    /// `min + width * Beta(1, b)`.
    Beta {
        /// The least value, in nanoseconds.
        min: u64,
        /// The width, in nanoseconds.
        width: u64,
        /// The second parameter; the first is 1.
        b: u64,
    },
}

impl Distribution for Shape {
    type Value = u64;

    fn value(&self, raw: u64) -> u64 {
        match *self {
            Self::LogNormal { median, sigma_milli } => lognormal(raw, median, sigma_milli),
            Self::ShiftedLogNormal { shift, median, sigma_milli } => {
                shift.saturating_add(lognormal(raw, median, sigma_milli))
            }
            Self::Pareto { min, alpha_milli, cap } => {
                let stretch = libm::pow(1.0 - unit(raw), -1000.0 / alpha_milli as f64);
                whole(min as f64 * stretch).min(cap)
            }
            Self::Beta { min, width, b } => {
                let share = 1.0 - libm::pow(1.0 - unit(raw), 1.0 / b as f64);
                min.saturating_add(whole(width as f64 * share))
            }
        }
    }
}

/// One of several shapes, as often as it weighs. Neutral: the shortest of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mixture {
    /// Weights, in ten-thousandths or whatever they add up to.
    pub weights: &'static [u64],
    /// As many shapes.
    pub shapes: &'static [Shape],
}

impl Mixture {
    /// Which shape this raw number falls on, and the value.
    pub fn component(&self, raw: u64) -> (usize, u64) {
        let (index, rest) = Weighted(self.weights).split(raw);
        (index, self.shapes[index].value(rest))
    }
}

impl Distribution for Mixture {
    type Value = u64;

    fn value(&self, raw: u64) -> u64 {
        self.component(raw).1
    }
}

fn lognormal(raw: u64, median: u64, sigma_milli: u64) -> u64 {
    whole(median as f64 * libm::exp(inverse_normal(unit(raw)) * (sigma_milli as f64 / 1000.0)))
}

/// `raw` as a fraction of 2^64, times `n`: the whole part, and the rest as a fresh raw number.
fn scale(raw: u64, n: u64) -> (u64, u64) {
    let product = u128::from(raw) * u128::from(n);
    ((product >> 64) as u64, product as u64)
}

/// `raw` as a fraction strictly between 0 and 1.
fn unit(raw: u64) -> f64 {
    ((raw >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
}

/// Rounded down to a whole number; what a `u64` cannot hold becomes its end.
fn whole(x: f64) -> u64 {
    x as u64
}

/// The quantile function of the normal distribution: Wichura, Algorithm AS 241 (1988), good to about 1e-16.
fn inverse_normal(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE.0, r) / polynomial(&CENTRE.1, r);
    }
    let r = libm::sqrt(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let (table, r) = if r <= 5.0 { (&MIDDLE, r - 1.6) } else { (&TAIL, r - 5.0) };
    let size = polynomial(&table.0, r) / polynomial(&table.1, r);
    if q < 0.0 {
        -size
    } else {
        size
    }
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

type Rational = ([f64; 8], [f64; 8]);

const CENTRE: Rational = (
    [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ],
    [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_659_7e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ],
);
const MIDDLE: Rational = (
    [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ],
    [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ],
);
const TAIL: Rational = (
    [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ],
    [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ],
);

#[cfg(test)]
mod tests {
    use super::*;

    /// Raw numbers at even spacing: their values are the quantiles.
    fn at(fraction: f64) -> u64 {
        (fraction * 18_446_744_073_709_551_616.0) as u64
    }

    #[test]
    fn the_quantile_function_undoes_the_normal_distribution() {
        for i in 1..2000 {
            let p = f64::from(i) / 2000.0;
            let back = 0.5 * libm::erfc(-inverse_normal(p) / core::f64::consts::SQRT_2);
            assert!((back - p).abs() < 1e-14, "{p} came back as {back}");
        }
        for (p, z) in [(1e-9, -5.997_807_015_007_687), (0.999, 3.090_232_306_167_813), (1e-15, -7.941_345_326_170_997)]
        {
            assert!((inverse_normal(p) - z).abs() < 1e-9, "{p}");
        }
    }

    #[test]
    fn zero_is_neutral_everywhere() {
        assert!(!Ratio::new(999, 1000).value(0));
        assert_eq!(Below(9).value(0), 0);
        assert_eq!(Range(5, 9).value(0), 5);
        assert_eq!(Sometimes(Ratio::new(999, 1000), Below(9)).value(0), None);
        assert_eq!(Symmetric(7).value(0), 0);
        assert_eq!(Normal(1_000_000).value(0), 0);
        assert_eq!(Exponential(1_000_000).value(0), 0);
        assert_eq!(Weighted(&[1, 5]).value(0), 0);
        assert_eq!(Shape::Pareto { min: 7, alpha_milli: 1000, cap: 100 }.value(0), 7);
        assert!(Shape::LogNormal { median: 1_000_000, sigma_milli: 500 }.value(0) < 20_000);
    }

    #[test]
    fn every_value_is_within_its_bounds_and_grows_with_the_raw_number() {
        let raws: Vec<u64> = (0..=1000u64).map(|i| i * (u64::MAX / 1000)).collect();
        let mut last = [0u64; 6];
        for raw in raws {
            let now = [
                Below(17).value(raw),
                Range(3, 8).value(raw),
                Exponential(1_000_000).value(raw),
                Shape::LogNormal { median: 1_000_000, sigma_milli: 400 }.value(raw),
                Shape::Pareto { min: 100, alpha_milli: 1600, cap: 5000 }.value(raw),
                Shape::Beta { min: 500, width: 9800, b: 3 }.value(raw),
            ];
            assert!(now.iter().zip(&last).all(|(new, old)| new >= old), "at {raw}");
            assert!(now[0] < 17 && (3..=8).contains(&now[1]) && (100..=5000).contains(&now[4]));
            assert!((500..=10_300).contains(&now[5]));
            assert!(Symmetric(5).value(raw).unsigned_abs() <= 5);
            last = now;
        }
    }

    #[test]
    fn quantiles_are_where_the_formulas_put_them() {
        let near = |value: u64, expect: u64| assert!(value.abs_diff(expect) * 1000 <= expect, "{value} for {expect}");
        near(Shape::LogNormal { median: 1_000_000, sigma_milli: 450 }.value(at(0.5)), 1_000_000);
        near(Shape::LogNormal { median: 1_000_000, sigma_milli: 1000 }.value(at(0.841_344_746_068_543)), 2_718_281);
        near(Exponential(1_000_000).value(at(0.5)), 693_147);
        near(Shape::Pareto { min: 1_000_000, alpha_milli: 2000, cap: 1 << 60 }.value(at(0.75)), 2_000_000);
        near(Shape::Beta { min: 0, width: 1_000_000, b: 3 }.value(at(0.5)), 206_299);
    }

    #[test]
    fn ratios_compare_and_combine() {
        assert_eq!(Ratio::new(1, 10).or_more(Ratio::new(1, 9)), Ratio::new(1, 9));
        assert_eq!(Ratio::new(1, 10).any_of(3), Ratio::new(3, 10));
        assert_eq!(Ratio::new(1, 10).any_of(300), Ratio::new(9, 10));
        assert_eq!(Ratio::ONE.any_of(300), Ratio::ONE);
        assert_eq!((Ratio::ZERO.constant(), Ratio::ONE.constant()), (Some(false), Some(true)));
    }
}
