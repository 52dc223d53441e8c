package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestFlags(t *testing.T) {
	type want struct {
		duration time.Duration
		callers  []int
		streams  []int
		tables   string
		size     int
		kinds    string
		demo     bool
		json     string
		links    string
		over     string // what is measured over links
	}
	const grid = "rtt=2ms rtt=2ms,loss=0.5% rtt=2ms,loss=2% rtt=20ms rtt=20ms,loss=0.5% rtt=20ms,loss=2%"
	usual := want{30 * time.Second, []int{1, 8, 64, 512}, []int{1, 64}, "calls,streams,mixed", 512, "inmem,websocket,wss,quic", true, "", grid, "wss,quic"}
	for _, test := range []struct {
		args   string
		change func(*want)
	}{
		{"", func(*want) {}},
		{"-duration 5m", func(w *want) { w.duration = 5 * time.Minute }},
		{"-callers 64,1", func(w *want) { w.callers = []int{1, 64} }},
		{"-callers 1,,", nil},
		{"-streams 7,3", func(w *want) { w.streams = []int{3, 7} }},
		{"-workloads mixed,links,calls", func(w *want) { w.tables = "calls,mixed" }},
		{"-size 0", func(w *want) { w.size = 0 }},
		{"-transports websocket", func(w *want) { w.kinds, w.over = "websocket", "websocket" }},
		{"-transports websocket,inmem,quic", func(w *want) { w.kinds, w.over = "websocket,inmem,quic", "websocket,quic" }},
		{"-transports inmem", func(w *want) { w.kinds, w.links, w.over = "inmem", "", "" }},
		{"-workloads streams", func(w *want) { w.tables, w.links, w.over = "streams", "", "" }},
		{"-workloads links", func(w *want) { w.tables = "" }},
		{"-rtt 5ms,1ms -loss 1%", func(w *want) { w.links = "rtt=5ms,loss=1% rtt=1ms,loss=1%" }},
		{"-loss 0", func(w *want) { w.links = "rtt=2ms rtt=20ms" }},
		{"-link wan -link rtt=3ms,loss=1%", func(w *want) { w.links = "wan rtt=3ms,loss=1%" }},
		{"-link wan,loss=1% -rtt 3ms -loss 1%,0", func(w *want) { w.links = "wan,loss=1% rtt=3ms,loss=1% rtt=3ms" }},
		{"-link rtt=3ms -rtt 3ms -loss 0", func(w *want) { w.links = "rtt=3ms" }},
		{"-no-demo", func(w *want) { w.demo = false }},
		{"-quick", func(w *want) { w.duration, w.links = 5*time.Second, "rtt=20ms,loss=0.5%" }},
		{"-json x", func(w *want) { w.json = "x" }},
	} {
		opts, err := parseFlags(kinds(), strings.Fields(test.args))
		if test.change == nil {
			if err == nil {
				t.Errorf("%q: no error", test.args)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.args, err)
			continue
		}
		w := usual
		test.change(&w)
		var links []string
		for _, l := range opts.links.over {
			links = append(links, l.title)
		}
		if got := (want{opts.duration, opts.callers, opts.streams, tableNames(opts.tables), opts.size, kindNames(opts.kinds), opts.demo, opts.json, strings.Join(links, " "), kindNames(opts.links.kinds)}); !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %+v, want %+v", test.args, got, w)
		}
	}
}

// TestBadFlags holds that an error names the flag, the value and the remedy.
func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-duration 1":                        `invalid value "1" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration -1s":                      `invalid value "-1s" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100h":                     `invalid value "100h" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100ms":                    `flag -duration 100ms: too short for 12 measurements over 4 transports: use at least 3.6s, or fewer of them`,
		"-quick -duration 5s":                `flags -quick and -duration both say how long to measure: leave one out`,
		"-callers 0":                         `invalid value "0" for flag -callers: "0" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 1,x":                       `invalid value "1,x" for flag -callers: "x" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 8,8":                       `invalid value "8,8" for flag -callers: 8 is there twice: list every number once`,
		"-callers 10001":                     `invalid value "10001" for flag -callers: "10001" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-streams 0":                         `invalid value "0" for flag -streams: "0" is no number of streams: list numbers from 1 to 10000, such as 1,8,64`,
		"-workloads rpc":                     `invalid value "rpc" for flag -workloads: there is no workload "rpc": choose from calls,streams,mixed,links`,
		"-workloads calls,calls":             `invalid value "calls,calls" for flag -workloads: "calls" is there twice: list every workload once`,
		"-size 16777216 -callers 1":          `flags -size 16777216 and -streams 64: together over 256 MiB in progress at once: lower one of them`,
		"-size -1":                           `invalid value "-1" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 1k":                           `invalid value "1k" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777217":                     `invalid value "16777217" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777216":                     `flags -size 16777216 and -callers 512: together over 256 MiB in progress at once: lower one of them`,
		"-transports tcp":                    `invalid value "tcp" for flag -transports: there is no transport "tcp": choose from inmem,websocket,wss,quic`,
		"-transports inmem,inmem":            `invalid value "inmem,inmem" for flag -transports: "inmem" is there twice: list every transport once`,
		"-workloads links,links":             `invalid value "links,links" for flag -workloads: "links" is there twice: list every workload once`,
		"-workloads calls -rtt 1ms":          `flag -rtt is about links, which -workloads leaves out: add links to it`,
		"-workloads links -duration 1s":      `flag -duration is about what is not over links, which -workloads leaves out: use -link-time`,
		"-transports inmem -loss 1%":         `flag -transports inmem: none of them crosses a link: add one that does`,
		"-transports inmem -workloads links": `flag -transports inmem: none of them crosses a link: add one that does`,
		"-rtt 20":                            `invalid value "20" for flag -rtt: rtt: "20" is no time like 40ms`,
		"-rtt 1ms,1ms":                       `invalid value "1ms,1ms" for flag -rtt: 1ms is there twice: list every rtt once`,
		"-rtt 1ms,2s":                        `invalid value "1ms,2s" for flag -rtt: 2s is too long: use at most 500ms`,
		"-loss 2":                            `invalid value "2" for flag -loss: loss: "2" is more than 1; should it be 2%?`,
		"-link moon":                         `invalid value "moon" for flag -link: "moon" is neither a setting like rtt=40ms nor one of lan, az, region, wan, lossy-wifi, udp-blocked`,
		"-link rtt=1s":                       `invalid value "rtt=1s" for flag -link: rtt is 1s: use at most 500ms`,
		"-link wan -link wan":                `invalid value "wan" for flag -link: rtt=100ms,jitter=5ms,rate=100mbit,loss=0.1% is there twice: name every link once`,
		"-link-time 1":                       `invalid value "1" for flag -link-time: use a time such as 10s or 1m, from 100ms to 24h`,
		"-link-rate 0":                       `invalid value "0" for flag -link-rate: use a number of calls per second from 1 to 10000`,
		"-link-streams -1":                   `invalid value "-1" for flag -link-streams: use a number of streams from 0 to 1000`,
		"-stream-rate 1":                     `invalid value "1" for flag -stream-rate: use a rate such as 1mbit, from 800bit to 1gbit`,
		"-stream-rate 1mbit,loss=1%":         `invalid value "1mbit,loss=1%" for flag -stream-rate: use a rate such as 1mbit, from 800bit to 1gbit`,
		"-tcp-congestion best":               `invalid value "best" for flag -tcp-congestion: the kernel does not have it: choose from [`,
		"-seed -1":                           `invalid value "-1" for flag -seed: use a whole number from 0 on`,
		"-workloads links -size 1000000":     `flags -size 1000000 and -link-rate 500: together over 256 MiB per second: lower one of them`,
		"-fast":                              `there is no flag -fast: -help lists those there are`,
		"websocket":                          `unexpected argument "websocket": bench takes flags only, -help lists them`,
		"-no-demo=maybe":                     `invalid boolean value "maybe" for -no-demo: parse error`,
		"-json " + filepath.Join("no", "x"):  `flag -json: `,
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), io.Discard, &stderr); code != exitUsage {
			t.Errorf("%s: exit code %d, want %d", args, code, exitUsage)
		}
		if got := stderr.String(); !strings.HasPrefix(got, "bench: "+want) || strings.Count(got, "\n") != 1 {
			t.Errorf("%s: printed\n%swant\nbench: %s", args, got, want)
		}
	}
}

func TestHelp(t *testing.T) {
	if _, err := parseFlags(kinds(), []string{"-help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("error %v, want flag.ErrHelp", err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d and %q on stderr, want 0 and nothing", code, &stderr)
	}
	for _, want := range []string{
		"go run ./bench", "-duration", "-callers", "-streams", "-workloads", "-size", "-transports", "-no-demo", "-quick", "-json",
		"-link ", "-rtt", "-loss", "-link-time", "-link-rate", "-link-streams", "-stream-rate", "-tcp-congestion", "-seed",
		"inmem ", "websocket ", "wss ", "quic ", "lossy-wifi ",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the usage lacks %q:\n%s", want, &stdout)
		}
	}
}
