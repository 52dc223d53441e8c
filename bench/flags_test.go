package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
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
		compress string // payloads, sizes, speeds and time of compression
	}
	const grid = "rtt=2ms rtt=2ms,loss=0.5% rtt=2ms,loss=2% rtt=20ms rtt=20ms,loss=0.5% rtt=20ms,loss=2%"
	usual := want{30 * time.Second, []int{1, 8, 64, 512}, []int{1, 64}, "calls,streams,mixed,fanout", 512, "inmem,websocket,wss,quic", true, "", grid, "wss,quic", "json,log,msgpack,image,random 128,1KiB,16KiB,128KiB,1MiB 100mbit 8s"}
	for _, test := range []struct {
		args   string
		change func(*want)
	}{
		{"", func(*want) {}},
		{"-duration 5m", func(w *want) { w.duration = 5 * time.Minute }},
		{"-callers 64,1", func(w *want) { w.callers = []int{1, 64} }},
		{"-callers 1,,", nil},
		{"-streams 7,3", func(w *want) { w.streams = []int{3, 7} }},
		{"-workloads mixed,links,calls", func(w *want) { w.tables, w.compress = "calls,mixed", "" }},
		{"-size 0", func(w *want) { w.size = 0 }},
		{"-transports websocket", func(w *want) { w.kinds, w.over = "websocket", "websocket" }},
		{"-transports websocket,inmem,quic", func(w *want) { w.kinds, w.over = "websocket,inmem,quic", "websocket,quic" }},
		{"-transports inmem", func(w *want) { w.kinds, w.links, w.over = "inmem", "", "" }},
		{"-workloads streams", func(w *want) { w.tables, w.links, w.over, w.compress = "streams", "", "", "" }},
		{"-workloads links", func(w *want) { w.tables, w.compress = "", "" }},
		{"-workloads compression", func(w *want) { w.tables, w.links, w.over = "", "", "" }},
		{"-payloads log,json -payload-sizes 16KiB,200 -speeds 1gbit,10mbit -compression-time 1m", func(w *want) {
			w.compress = "log,json 200,16KiB 1gbit,10mbit 1m0s"
		}},
		{"-speeds none", func(w *want) { w.compress = "json,log,msgpack,image,random 128,1KiB,16KiB,128KiB,1MiB  8s" }},
		{"-rtt 5ms,1ms -loss 1%", func(w *want) { w.links = "rtt=5ms,loss=1% rtt=1ms,loss=1%" }},
		{"-loss 0", func(w *want) { w.links = "rtt=2ms rtt=20ms" }},
		{"-link wan -link rtt=3ms,loss=1%", func(w *want) { w.links = "wan rtt=3ms,loss=1%" }},
		{"-link wan,loss=1% -rtt 3ms -loss 1%,0", func(w *want) { w.links = "wan,loss=1% rtt=3ms,loss=1% rtt=3ms" }},
		{"-link rtt=3ms -rtt 3ms -loss 0", func(w *want) { w.links = "rtt=3ms" }},
		{"-no-demo", func(w *want) { w.demo = false }},
		{"-quick", func(w *want) {
			w.duration, w.links = 4*time.Second, "rtt=20ms,loss=0.5%"
			w.compress = "json,random 1KiB,16KiB 100mbit 1.2s"
		}},
		{"-quick -payloads log -payload-sizes 1MiB -speeds 1gbit -compression-time 9s", func(w *want) {
			w.duration, w.links, w.compress = 4*time.Second, "rtt=20ms,loss=0.5%", "log 1MiB 1gbit 9s"
		}},
		{"-json x", func(w *want) { w.json = "x" }},
		{"-sizes 1KiB,64KiB -fanout 2,1", func(*want) {}},
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
		if got := (want{opts.duration, opts.callers, opts.streams, tableNames(opts.tables), opts.size, kindNames(opts.kinds), opts.demo, opts.json, strings.Join(links, " "), kindNames(opts.links.kinds), compressed(opts.compression)}); !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %+v, want %+v", test.args, got, w)
		}
	}
}

// compressed says what is measured of compression.
func compressed(o compressionOptions) string {
	if !o.wanted {
		return ""
	}
	return strings.Join([]string{
		strings.Join(o.payloads, ","), joined(o.sizes, shortSize), joined(o.speeds, link.FormatRate), o.duration.String(),
	}, " ")
}

// TestBadFlags holds that an error names the flag, the value and the remedy.
func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-duration 1":                  `invalid value "1" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration -1s":                `invalid value "-1s" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100h":               `invalid value "100h" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100ms":              `flag -duration 100ms: too short for 16 measurements over 4 transports: use at least 4.8s, or fewer of them`,
		"-quick -duration 5s":          `flags -quick and -duration both say how long to measure: leave one out`,
		"-callers 0":                   `invalid value "0" for flag -callers: "0" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 1,x":                 `invalid value "1,x" for flag -callers: "x" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 8,8":                 `invalid value "8,8" for flag -callers: 8 is there twice: list every number once`,
		"-callers 10001":               `invalid value "10001" for flag -callers: "10001" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-streams 0":                   `invalid value "0" for flag -streams: "0" is no number of streams: list numbers from 1 to 1000, such as 1,8,64`,
		"-streams 10000":               `invalid value "10000" for flag -streams: "10000" is no number of streams: list numbers from 1 to 1000, such as 1,8,64`,
		"-workloads rpc":               `invalid value "rpc" for flag -workloads: there is no workload "rpc": choose from calls,streams,mixed,fanout,paced,clusters,links,compression`,
		"-workloads calls,calls":       `invalid value "calls,calls" for flag -workloads: "calls" is there twice: list every workload once`,
		"-size 16777216 -callers 1":    `flags -size 16777216 and -streams 64: together over 256 MiB in progress at once: lower one of them`,
		"-sizes 1KiB,0":                `invalid value "1KiB,0" for flag -sizes: "0" is no size: list numbers of bytes from 1 to 16777216, such as 200,16KiB`,
		"-sizes 512":                   `flag -sizes: 512 is the size that is measured anyway: leave it out`,
		"-workloads mixed -sizes 1KiB": `flag -sizes is about calls, which -workloads leaves out: add it`,
		"-workloads mixed -callers 2":  `flag -callers is about calls, which -workloads leaves out: add it`,
		"-workloads calls -streams 2":  `flag -streams is about streams, which -workloads leaves out: add it`,
		"-workloads clusters -size 2":  `flag -size is about calls,streams,mixed,fanout,paced,links, which -workloads leaves out: add one`,
		"-workloads clusters,compression -payload flags_test.go":       `flag -payload is about calls,streams,mixed,fanout,paced,links, which -workloads leaves out: add one`,
		"-workloads calls -callers 8,64 -sizes 16KiB,1MiB":             `flags -callers 8,64 and -sizes 1MiB: of requests that large no more than 256 KiB are under way: add 1 to -callers`,
		"-workloads compression -transports inmem -speeds 1gbit":       `flags -speeds and -transports inmem: none of them crosses a link: add one that does`,
		"-workloads mixed -fanout 2":                                   `flag -fanout is about fanout, which -workloads leaves out: add it`,
		"-fanout 101":                                                  `invalid value "101" for flag -fanout: "101" is no number of peers: list numbers from 1 to 100, such as 1,8,64`,
		"-payload /no/such/file":                                       `invalid value "/no/such/file" for flag -payload: `,
		"-payload /":                                                   `invalid value "/" for flag -payload: `,
		"-payload " + os.DevNull:                                       `invalid value "` + os.DevNull + `" for flag -payload: it is a device: name a file that can be read`,
		"-payload flags_test.go -size 10":                              `flags -size and -payload both say how large requests are: leave one out`,
		"-shaping -loss 1%":                                            `flag -shaping, for rtt=2ms,loss=1%: loss: TCP below would never see that anything was lost, so that the figures would be a lie`,
		"-shaping -link wan":                                           `flag -shaping, for wan: loss: TCP below would never see`,
		"-shaping -tcp-congestion reno":                                `flags -shaping and -tcp-congestion: below, TCP is on the loopback interface and loses nothing: leave one out`,
		"-threshold p99<5":                                             `invalid value "p99<5" for flag -threshold: use p99<5ms, with p50, p90, p99, p99.9 or max, or rate>1000`,
		"-paced-time 1":                                                `invalid value "1" for flag -paced-time: use a time such as 10s or 1m, from 100ms to 24h`,
		"-workloads calls -paced-time 1s":                              `flag -paced-time is about paced, which -workloads leaves out: add it`,
		"-workloads paced -rtt 1ms":                                    `flag -rtt is about links, which -workloads leaves out: add links to it`,
		"-workloads calls -link-rate 5":                                `flag -link-rate is about links, which -workloads leaves out: add links to it`,
		"-workloads paced -link-rate 5":                                `flags -link-rate 5 and -paced-time 1.35s: fewer than 50 calls, of which no percentile says anything: use at least 10s, or a higher rate`,
		"-workloads links -link-rate 1 -link-time 100ms":               `flags -link-rate 1 and -link-time 100ms: fewer than 50 calls, of which no percentile says anything: use at least 50s, or a higher rate`,
		"-workloads paced -size 1000000":                               `flags -size 1000000 and -link-rate 500: together over 256 MiB per second: lower one of them`,
		"-nodes 2":                                                     `invalid value "2" for flag -nodes: use a number of nodes from 3 to 100`,
		"-workloads calls -nodes 4":                                    `flag -nodes is about clusters, which -workloads leaves out: add it`,
		"-connect host":                                                `invalid value "host" for flag -connect: use a host and the port that bench serve prints, such as 192.0.2.7:7600`,
		"-connect :7600":                                               `invalid value ":7600" for flag -connect: use a host and the port that bench serve prints, such as 192.0.2.7:7600`,
		"-connect h:7600":                                              `flag -connect: the other end has to be sure who calls: add -key with what bench serve prints`,
		"-key 0123456789abcdef":                                        `flag -key is for a path to another host: add -connect`,
		"-connect h:7600 -key 0123456789abcde":                         `flag -key: it has 15 characters: use the one that bench serve prints, or at least 16 random ones`,
		"-connect h:7600 -key 0123456789abcdef -transports inmem":      `flag -transports: inmem does not leave this process: leave it out with -connect`,
		"-connect h:7600 -key 0123456789abcdef -workloads calls,links": `flag -workloads: over a path to another host there are calls,streams,mixed,paced: leave out the others`,
		"-connect h:7600 -key 0123456789abcdef -loss 1%":               `flags -connect and -loss: the path is what it is, and there is one peer: leave one out`,
		"-connect h:7600 -key 0123456789abcdef -fanout 1":              `flags -connect and -fanout: the path is what it is, and there is one peer: leave one out`,
		"-size -1":                           `invalid value "-1" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 1k":                           `invalid value "1k" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777217":                     `invalid value "16777217" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777216":                     `flags -size 16777216 and -callers 512: together over 256 MiB in progress at once: lower one of them`,
		"-transports tcp":                    `invalid value "tcp" for flag -transports: there is no transport "tcp": choose from inmem,websocket,wss,quic`,
		"-transports inmem,inmem":            `invalid value "inmem,inmem" for flag -transports: "inmem" is there twice: list every transport once`,
		"-workloads links,links":             `invalid value "links,links" for flag -workloads: "links" is there twice: list every workload once`,
		"-workloads calls -rtt 1ms":          `flag -rtt is about links, which -workloads leaves out: add links to it`,
		"-workloads links -duration 1s":      `flag -duration is about calls,streams,mixed,fanout, which -workloads leaves out: use -link-time or -compression-time`,
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
		"-payloads json,xml":                 `invalid value "json,xml" for flag -payloads: there is no payload "xml": choose from json,log,msgpack,image,random`,
		"-payloads json,json":                `invalid value "json,json" for flag -payloads: "json" is there twice: list every payload once`,
		"-payload-sizes 1,0":                 `invalid value "1,0" for flag -payload-sizes: "0" is no size: list numbers of bytes from 1 to 16777216, such as 200,16KiB`,
		"-payload-sizes 17MiB":               `invalid value "17MiB" for flag -payload-sizes: "17MiB" is no size: list numbers of bytes from 1 to 16777216, such as 200,16KiB`,
		"-payload-sizes 1024,1KiB":           `invalid value "1024,1KiB" for flag -payload-sizes: 1KiB is there twice: list every size once`,
		"-speeds 100kbit":                    `invalid value "100kbit" for flag -speeds: 100kbit is too slow: use at least 1mbit`,
		"-speeds 1gbit,1gbit":                `invalid value "1gbit,1gbit" for flag -speeds: 1gbit is there twice: list every rate once`,
		"-compression-time 0s":               `invalid value "0s" for flag -compression-time: use a time such as 30s or 5m, at most 24h`,
		"-compression-time 1s":               `flag -compression-time 1s: too short for up to 125 measurements: use at least 7.5s, or fewer of them`,
		"-workloads calls -speeds none":      `flag -speeds is about compression, which -workloads leaves out: add compression to it`,
		"-samples x -payloads json":          `flags -samples and -payloads or -payload-sizes: samples are what they are, leave the others out`,
		"-samples=":                          `invalid value "" for flag -samples: it is empty: give it a name`,
		"-lines":                             `flag -lines is about files with samples: add -samples, or -train`,
		"-train=":                            `invalid value "" for flag -train: it is empty: give it a name`,
		"-train x":                           `flag -train: name files or directories with samples behind the flags`,
		"-train x -quick y":                  `flags -train and -quick: the first measures nothing, leave one of them out`,
		"-dictionary-size 8KiB":              `flag -dictionary-size is about a dictionary that is made: add -train`,
		"-train x -dictionary-size 1,2 y":    `invalid value "1,2" for flag -dictionary-size: use a number of bytes up to 131072`,
		"-record x -train y":                 `flags -record and -train: the first measures nothing, leave one of them out`,
		"-record x y":                        `unexpected argument "y": -record takes flags only, -help lists them`,
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
		"-sizes", "-payload ", "-fanout", "-connect", "-key", "-threshold", "-paced-time", "-nodes", "-link ", "-rtt", "-loss", "-link-time", "-link-rate", "-link-streams", "-stream-rate", "-tcp-congestion", "-seed",
		"-payloads", "-payload-sizes", "-samples", "-lines", "-speeds", "-compression-time", "-train", "-dictionary-size", "-record",
		"inmem ", "websocket ", "wss ", "quic ", "lossy-wifi ",
		"bench serve [flags]", "bench compare old.json new.json", "fan-out", "(paced)", "clusters start", "percentiles are of all windows",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the usage lacks %q:\n%s", want, &stdout)
		}
	}
}

// TestLargePayload expects the error about a payload of which too many would be in progress to name its
// flag: it spoke of -size, which the user had not given.
func TestLargePayload(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"":                 "flags -payload with its 1048576 bytes and -callers 512: together over 256 MiB in progress at once: lower one of them",
		"-workloads links": "flags -payload with its 1048576 bytes and -link-rate 500: together over 256 MiB per second: lower one of them",
	} {
		if _, err := parseFlags(kinds(), append(strings.Fields(args), "-payload", file)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", args, err, want)
		}
	}
}

// TestPacedTime expects the least time that an error names to be enough: it was cut to turns first, and then too
// short again.
func TestPacedTime(t *testing.T) {
	for args, want := range map[string]time.Duration{
		"-paced-time 100ms":                108 * time.Millisecond,
		"-paced-time 10s -link-rate 5":     10008 * time.Millisecond,
		"-paced-time 1s -link-rate 50":     1008 * time.Millisecond,
		"-paced-time 900ms":                900 * time.Millisecond,
		"-paced-time 1350ms -link-rate 40": 1350 * time.Millisecond,
	} {
		opts, err := parseFlags(kinds(), strings.Fields("-workloads paced "+args))
		if err != nil || opts.paced.duration != want {
			t.Errorf("%s: %v, %v, want %v", args, opts.paced.duration, err, want)
		}
	}
	const short = "flags -link-rate 5 and -paced-time 1s: fewer than 50 calls, of which no percentile says anything: use at least 10s, or a higher rate"
	if _, err := parseFlags(kinds(), strings.Fields("-workloads paced -paced-time 1s -link-rate 5")); err == nil || err.Error() != short {
		t.Errorf("%v, want %s", err, short)
	}
}
