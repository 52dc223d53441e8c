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
	}
	usual := want{30 * time.Second, []int{1, 8, 64, 512}, []int{1, 64}, "calls,streams,mixed", 512, "inmem,websocket", true, ""}
	for _, test := range []struct {
		args   string
		change func(*want)
	}{
		{"", func(*want) {}},
		{"-duration 5m", func(w *want) { w.duration = 5 * time.Minute }},
		{"-callers 64,1", func(w *want) { w.callers = []int{1, 64} }},
		{"-callers 1,,", nil},
		{"-streams 7,3", func(w *want) { w.streams = []int{3, 7} }},
		{"-workloads mixed,calls", func(w *want) { w.tables = "calls,mixed" }},
		{"-size 0", func(w *want) { w.size = 0 }},
		{"-transports websocket", func(w *want) { w.kinds = "websocket" }},
		{"-transports websocket,inmem", func(w *want) { w.kinds = "websocket,inmem" }},
		{"-no-demo", func(w *want) { w.demo = false }},
		{"-quick", func(w *want) { w.duration = 5 * time.Second }},
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
		if got := (want{opts.duration, opts.callers, opts.streams, tableNames(opts.tables), opts.size, kindNames(opts.kinds), opts.demo, opts.json}); !reflect.DeepEqual(got, w) {
			t.Errorf("%q: %+v, want %+v", test.args, got, w)
		}
	}
}

// TestBadFlags holds that an error names the flag, the value and the remedy.
func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-duration 1":                       `invalid value "1" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration -1s":                     `invalid value "-1s" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100h":                    `invalid value "100h" for flag -duration: use a time such as 30s or 5m, at most 24h`,
		"-duration 100ms":                   `flag -duration 100ms: too short for 12 measurements over 2 transports: use at least 1.8s, or fewer of them`,
		"-quick -duration 5s":               `flags -quick and -duration both say how long to measure: leave one out`,
		"-callers 0":                        `invalid value "0" for flag -callers: "0" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 1,x":                      `invalid value "1,x" for flag -callers: "x" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-callers 8,8":                      `invalid value "8,8" for flag -callers: 8 is there twice: list every number once`,
		"-callers 10001":                    `invalid value "10001" for flag -callers: "10001" is no number of callers: list numbers from 1 to 10000, such as 1,8,64`,
		"-streams 0":                        `invalid value "0" for flag -streams: "0" is no number of streams: list numbers from 1 to 10000, such as 1,8,64`,
		"-workloads rpc":                    `invalid value "rpc" for flag -workloads: there is no workload "rpc": choose from calls,streams,mixed`,
		"-workloads calls,calls":            `invalid value "calls,calls" for flag -workloads: "calls" is there twice: list every workload once`,
		"-size 16777216 -callers 1":         `flags -size 16777216 and -streams 64: together over 256 MiB in progress at once: lower one of them`,
		"-size -1":                          `invalid value "-1" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 1k":                          `invalid value "1k" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777217":                    `invalid value "16777217" for flag -size: use a number of bytes from 0 to 16777216`,
		"-size 16777216":                    `flags -size 16777216 and -callers 512: together over 256 MiB in progress at once: lower one of them`,
		"-transports tcp":                   `invalid value "tcp" for flag -transports: there is no transport "tcp": choose from inmem,websocket`,
		"-transports inmem,inmem":           `invalid value "inmem,inmem" for flag -transports: "inmem" is there twice: list every transport once`,
		"-fast":                             `there is no flag -fast: -help lists those there are`,
		"websocket":                         `unexpected argument "websocket": bench takes flags only, -help lists them`,
		"-no-demo=maybe":                    `invalid boolean value "maybe" for -no-demo: parse error`,
		"-json " + filepath.Join("no", "x"): `flag -json: `,
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
		"inmem ", "websocket ",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the usage lacks %q:\n%s", want, &stdout)
		}
	}
}
