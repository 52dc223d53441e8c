package link

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// A Preset is a set of conditions with a name.
type Preset struct {
	Name        string
	Description string
	Conditions  Conditions
}

// Presets returns the links that have a name, from the shortest to the worst.
func Presets() []Preset {
	return []Preset{
		{"lan", "one switch", Conditions{RTT: 500 * time.Microsecond, Rate: 1e9}},
		{"az", "between data centres of one city", Conditions{RTT: 2 * time.Millisecond, Rate: 1e9}},
		{"region", "between neighbouring regions", Conditions{
			RTT: 20 * time.Millisecond, Rate: 500e6, Jitter: time.Millisecond, Loss: 0.0001,
		}},
		{"wan", "between continents", Conditions{
			RTT: 100 * time.Millisecond, Rate: 100e6, Jitter: 5 * time.Millisecond, Loss: 0.001,
		}},
		{"lossy-wifi", "a crowded wireless network", Conditions{
			RTT: 10 * time.Millisecond, Rate: 30e6, Jitter: 8 * time.Millisecond, Loss: 0.02, Reorder: 0.005,
		}},
		{"udp-blocked", "region behind a firewall that drops UDP", Conditions{
			RTT: 20 * time.Millisecond, Rate: 500e6, Jitter: time.Millisecond, Loss: 0.0001, BlockUDP: true,
		}},
	}
}

// keys are the settings that Parse knows, in the order in which String names them.
var keys = []struct {
	name   string
	parse  func(c *Conditions, value string) error
	format func(c *Conditions) string // empty for what is left at its default
}{
	{
		"rtt",
		func(c *Conditions, v string) error { return parseTime(&c.RTT, v) },
		func(c *Conditions) string { return formatTime(c.RTT) },
	},
	{
		"jitter",
		func(c *Conditions, v string) error { return parseTime(&c.Jitter, v) },
		func(c *Conditions) string { return formatTime(c.Jitter) },
	},
	{
		"rate",
		func(c *Conditions, v string) (err error) { c.Rate, err = parseRate(v); return err },
		func(c *Conditions) string { return formatUnless0(c.Rate, FormatRate) },
	},
	{
		"queue",
		func(c *Conditions, v string) error { return parseTime(&c.Queue, v) },
		func(c *Conditions) string { return formatTime(c.Queue) },
	},
	{
		"loss",
		func(c *Conditions, v string) (err error) { c.Loss, err = parseShare(v); return err },
		func(c *Conditions) string { return formatUnless0(c.Loss, FormatShare) },
	},
	{
		"reorder",
		func(c *Conditions, v string) (err error) { c.Reorder, err = parseShare(v); return err },
		func(c *Conditions) string { return formatUnless0(c.Reorder, FormatShare) },
	},
	{
		"mtu",
		func(c *Conditions, v string) error {
			mtu, err := strconv.Atoi(v)
			if err != nil {
				return fmt.Errorf("%q is no number of octets", v)
			}
			c.MTU = mtu
			return nil
		},
		func(c *Conditions) string { return formatUnless0(c.MTU, strconv.Itoa) },
	},
	{
		"block",
		func(c *Conditions, v string) error {
			if v != "udp" && v != "none" {
				return fmt.Errorf("%q is neither udp nor none", v)
			}
			c.BlockUDP = v == "udp"
			return nil
		},
		func(c *Conditions) string {
			if c.BlockUDP {
				return "udp"
			}
			return ""
		},
	},
}

// Parse reads conditions in the form of a command-line flag: settings between
// commas, like rtt=40ms,jitter=5ms,rate=100mbit,loss=0.5%,mtu=1500. The other
// settings are queue (a time), reorder (a share) and block (udp or none). Times are
// as time.ParseDuration reads them, rates are in bit, kbit, mbit or gbit a second,
// shares in percent or, without the sign, as numbers up to 1. The name of a preset may
// come first, and the settings behind it change it: wan,loss=1%. An
// empty text is an error. The error says in one line what is wrong, and what would be right.
func Parse(text string) (Conditions, error) {
	var c Conditions
	seen := make(map[string]bool)
	for i, setting := range strings.Split(text, ",") {
		setting = strings.TrimSpace(setting)
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			preset, found := findPreset(setting)
			switch {
			case !found:
				return Conditions{}, fmt.Errorf("link: %q is neither a setting like rtt=40ms nor one of %s", setting, presetNames())
			case i > 0:
				return Conditions{}, fmt.Errorf("link: the preset %s must come first", setting)
			}
			c = preset
			continue
		}
		if seen[name] {
			return Conditions{}, fmt.Errorf("link: %s is set twice", name)
		}
		seen[name] = true
		if err := set(&c, name, value); err != nil {
			return Conditions{}, err
		}
	}
	if err := c.Validate(); err != nil {
		return Conditions{}, err
	}
	return c, nil
}

// String returns what Parse reads as c. That of the zero value is rtt=0s.
func (c Conditions) String() string {
	var settings []string
	for _, key := range keys {
		if value := key.format(&c); value != "" {
			settings = append(settings, key.name+"="+value)
		}
	}
	if settings == nil {
		return "rtt=0s"
	}
	return strings.Join(settings, ",")
}

func set(c *Conditions, name, value string) error {
	names := make([]string, len(keys))
	for i, key := range keys {
		if key.name == name {
			if err := key.parse(c, value); err != nil {
				return fmt.Errorf("link: %s: %w", name, err)
			}
			return nil
		}
		names[i] = key.name
	}
	return fmt.Errorf("link: there is no setting %q; there are %s", name, strings.Join(names, ", "))
}

func findPreset(name string) (Conditions, bool) {
	for _, p := range Presets() {
		if p.Name == name {
			return p.Conditions, true
		}
	}
	return Conditions{}, false
}

func presetNames() string {
	var names []string
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

func parseTime(to *time.Duration, text string) error {
	d, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("%q is no time like 40ms", text)
	}
	*to = d
	return nil
}

func formatTime(d time.Duration) string { return formatUnless0(d, time.Duration.String) }

// rateUnits are in the order in which one is looked for: bit is the end of all.
var rateUnits = []struct {
	name string
	bits float64
}{
	{"gbit", 1e9},
	{"mbit", 1e6},
	{"kbit", 1e3},
	{"bit", 1},
}

func parseRate(text string) (float64, error) {
	for _, unit := range rateUnits {
		if number, ok := strings.CutSuffix(text, unit.name); ok {
			if n, ok := parseNumber(number); ok {
				return n * unit.bits, nil
			}
			break
		}
	}
	return 0, fmt.Errorf("%q is no rate like 100mbit", text)
}

// FormatRate returns a rate in bits a second as Parse reads it.
func FormatRate(rate float64) string {
	for _, unit := range rateUnits {
		// Exactly, so that what is read again is the same.
		if n := rate / unit.bits; rate >= unit.bits && n*unit.bits == rate {
			return formatNumber(n) + unit.name
		}
	}
	return formatNumber(rate) + "bit"
}

func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	n, ok := parseNumber(number)
	switch {
	case !ok:
		return 0, fmt.Errorf("%q is no share like 0.5%%", text)
	case percent:
		return n / 100, nil
	case n > 1:
		// 2 could mean 2 %, and a share cannot be more than 1.
		return 0, fmt.Errorf("%q is more than 1; should it be %s%%?", text, text)
	default:
		return n, nil
	}
}

// FormatShare returns a share as Parse reads it, in percent if that is exact.
func FormatShare(share float64) string {
	if n := share * 100; n/100 == share {
		return formatNumber(n) + "%"
	}
	return formatNumber(share)
}

func parseNumber(text string) (float64, bool) {
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil && !math.IsInf(n, 0) && !math.IsNaN(n)
}

func formatNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func formatUnless0[T comparable](value T, format func(T) string) string {
	var zero T
	if value == zero {
		return ""
	}
	return format(value)
}

// ErrUnavailable is what [New] fails with where the system does not allow emulated
// links. The text of the error says what it refused.
var ErrUnavailable = errors.New("no emulated links on this machine")
