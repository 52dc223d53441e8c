package link_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// TestParse expects each setting, each unit and each preset to be read as it
// is documented.
func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]link.Conditions{
		"rtt=40ms,jitter=5ms,loss=0.5%,rate=100mbit,mtu=1500": {
			RTT: 40 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.005, Rate: 100e6, MTU: 1500,
		},
		"rtt=0s":                     {},
		"rtt=0s , loss=0.25":         {Loss: 0.25},
		"reorder=1%,queue=5ms":       {Reorder: 0.01, Queue: 5 * time.Millisecond},
		"rate=1.5gbit":               {Rate: 1.5e9},
		"rate=64kbit":                {Rate: 64e3},
		"rate=2000bit":               {Rate: 2000},
		"block=udp":                  {BlockUDP: true},
		"lan":                        {RTT: 500 * time.Microsecond, Rate: 1e9},
		"lan,rate=0bit,rtt=1ms":      {RTT: time.Millisecond},
		"lan,block=udp,mtu=9000":     {RTT: 500 * time.Microsecond, Rate: 1e9, BlockUDP: true, MTU: 9000},
		"udp-blocked,block=none":     preset(t, "region"),
		"region,block=udp":           preset(t, "udp-blocked"),
		"wan,loss=0,jitter=0s":       {RTT: 100 * time.Millisecond, Rate: 100e6},
		"loss=100%,reorder=1,rtt=1s": {Loss: 1, Reorder: 1, RTT: time.Second},
	} {
		got, err := link.Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) returned %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestParseErrors expects each mistake to be named in one line, along with what
// would be right.
func TestParseErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                   `link: "" is neither a setting like rtt=40ms nor one of lan, az, region, wan, lossy-wifi, udp-blocked`,
		"moon":               `link: "moon" is neither a setting like rtt=40ms nor one of lan, az, region, wan, lossy-wifi, udp-blocked`,
		"rtt=1ms,":           `link: "" is neither a setting like rtt=40ms nor one of lan, az, region, wan, lossy-wifi, udp-blocked`,
		"rtt=1ms,wan":        `link: the preset wan must come first`,
		"wan,lan":            `link: the preset lan must come first`,
		"latency=1ms":        `link: there is no setting "latency"; there are rtt, jitter, rate, queue, loss, reorder, mtu, block`,
		"rtt=1ms,rtt=2ms":    `link: rtt is set twice`,
		"rtt=40":             `link: rtt: "40" is no time like 40ms`,
		"rtt=-1ms":           `link: rtt is -1ms, not from 0 to 1m0s`,
		"rtt=61s":            `link: rtt is 1m1s, not from 0 to 1m0s`,
		"rtt=1ms,jitter=2ms": `link: jitter is 2ms, not from 0 to the rtt of 1ms`,
		"jitter=x":           `link: jitter: "x" is no time like 40ms`,
		"rate=100":           `link: rate: "100" is no rate like 100mbit`,
		"rate=100MB":         `link: rate: "100MB" is no rate like 100mbit`,
		"rate=mbit":          `link: rate: "mbit" is no rate like 100mbit`,
		"rate=infgbit":       `link: rate: "infgbit" is no rate like 100mbit`,
		"rate=10bit":         `link: rate is 10bit, not from 1kbit to 1000gbit`,
		"rate=-1mbit":        `link: rate is -1000000bit, not from 1kbit to 1000gbit`,
		"queue=2m":           `link: queue is 2m0s, not from 0 to 1m0s`,
		"loss=2":             `link: loss: "2" is more than 1; should it be 2%?`,
		"loss=101%":          `link: loss is 101%, not from 0% to 100%`,
		"loss=-1%":           `link: loss is -1%, not from 0% to 100%`,
		"loss=NaN":           `link: loss: "NaN" is no share like 0.5%`,
		"loss=1%%":           `link: loss: "1%%" is no share like 0.5%`,
		"reorder=200%":       `link: reorder is 200%, not from 0% to 100%`,
		"mtu=big":            `link: mtu: "big" is no number of octets`,
		"mtu=1279":           `link: mtu is 1279, not from 1280 to 65535`,
		"mtu=65536":          `link: mtu is 65536, not from 1280 to 65535`,
		"block=tcp":          `link: block: "tcp" is neither udp nor none`,
	} {
		got, err := link.Parse(text)
		if err == nil || err.Error() != want || got != (link.Conditions{}) {
			t.Errorf("Parse(%q) returned %+v and\n\t%v, not\n\t%s", text, got, err, want)
		}
	}
}

// TestValidate expects what is no number, or cannot be written as a setting, to
// be refused too.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []link.Conditions{
		{Loss: math.NaN()},
		{Reorder: math.NaN()},
		{Rate: math.NaN()},
		{Rate: math.Inf(1)},
		{MTU: -1},
	} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is valid", c)
		}
	}
}

// TestPresets expects every preset to be valid, described, and read by its name.
func TestPresets(t *testing.T) {
	t.Parallel()
	for _, p := range link.Presets() {
		got, err := link.Parse(p.Name)
		if err != nil || got != p.Conditions || p.Description == "" {
			t.Errorf("%s, %q, is %+v, %v; want %+v", p.Name, p.Description, got, err, p.Conditions)
		}
	}
}

// TestString expects conditions to be written in their shortest form.
func TestString(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]link.Conditions{
		"rtt=0s":            {},
		"rate=2.5mbit":      {Rate: 2.5e6},
		"loss=0.5%":         {Loss: 0.005},
		"block=udp":         {BlockUDP: true},
		"rate=1.234567mbit": {Rate: 1234567},
		"rtt=40ms,jitter=5ms,rate=100mbit,queue=30ms,loss=1%,reorder=2%,mtu=1400": {
			RTT: 40 * time.Millisecond, Jitter: 5 * time.Millisecond, Rate: 100e6, Queue: 30 * time.Millisecond,
			Loss: 0.01, Reorder: 0.02, MTU: 1400,
		},
	} {
		if got := c.String(); got != want {
			t.Errorf("%+v is written %s, not %s", c, got, want)
		}
	}
}

// FuzzParse expects no text to cause a panic, errors of one line, and conditions
// that are valid and come back as they were when they are written and read again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"rtt=40ms,jitter=5ms,loss=0.5%,rate=100mbit,mtu=1500", "wan,loss=1%", "block=udp,queue=1s,reorder=0.1",
		"rate=0.3gbit", "loss=0.7%", "mtu=1e9", ",,", "=", "rtt=\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := link.Parse(text)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has more than one line: %v", err)
			}
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("Parse(%q) returned what is not valid: %v", text, err)
		}
		if again, err := link.Parse(c.String()); err != nil || again != c {
			t.Errorf("%+v is written %s and read as %+v, %v", c, c, again, err)
		}
	})
}

func preset(t *testing.T, name string) link.Conditions {
	t.Helper()
	for _, p := range link.Presets() {
		if p.Name == name {
			return p.Conditions
		}
	}
	t.Fatalf("there is no preset %s", name)
	return link.Conditions{}
}
