package main

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// TestReadmeSteps holds that every step compares contenders that there are, and that flags which
// were given hold for each in place of its own.
func TestReadmeSteps(t *testing.T) {
	for _, s := range readmeSteps() {
		for _, name := range append(slices.Clone(s.peers), s.against...) {
			if h.Peers[name] == nil || !slices.Contains(s.peers, name) {
				t.Errorf("%s: there is no contender %q", s.title, name)
			}
		}
		o := s.options(options{mode: readmeMode, set: []string{"-mode=readme", "-size=512"}})
		if o.rounds != s.rounds || !slices.Contains(o.set, "-dur="+s.dur.String()) || !slices.Contains(o.set, "-mode="+s.mode) ||
			slices.Contains(o.set, "-mode=readme") || !slices.Contains(o.set, "-size=512") {
			t.Errorf("%s: %d rounds with %q", s.title, o.rounds, o.set)
		}
		o = s.options(options{mode: readmeMode, rounds: 1, dur: time.Millisecond, set: []string{"-mode=readme", "-dur=1ms"}})
		if o.rounds != 1 || !slices.Contains(o.set, "-dur=1ms") || slices.Contains(o.set, "-dur="+s.dur.String()) {
			t.Errorf("%s: %d rounds with %q", s.title, o.rounds, o.set)
		}
	}
	for _, name := range shared {
		if h.Peers[name] == nil {
			t.Errorf("there is no contender %q", name)
		}
	}
}

// TestAgree holds that a build is compared with another one, here with itself, contender by
// contender, and that a contender of which nothing is measured fails.
func TestAgree(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-mode", "agree", "-baseline", self, "-rounds", "2", "-warm", "5ms", "-dur", "20ms"}
	var stdout bytes.Buffer
	if code := run(t.Context(), append(args, "-peers", "smux,ideal-go"), &stdout, io.Discard); code != exitOK && code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"| smux | 1 |", "| smux | 64 |", "| ideal-go | 1 |", "rate here : there"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &stdout)
		}
	}
	var stderr bytes.Buffer
	if code := run(t.Context(), append(args, "-peers", "test-broken"), io.Discard, &stderr); code != exitFailed {
		t.Errorf("a contender that fails: exit code %d, and\n%s", code, &stderr)
	}
}

// TestEveryContender holds that all contenders of the table in README echo and, where they can,
// stream, for a moment each.
func TestEveryContender(t *testing.T) {
	for _, name := range everybody {
		f := h.Peers[name]
		if r := h.Unary(f, 100, 2, 10*time.Millisecond, 200*time.Millisecond, ""); r.Err != "" || r.Ops == 0 {
			t.Errorf("%s: %d calls, %s", name, r.Ops, r.Err)
		}
		if r := h.Streams(f, 100, 2, 100, time.Millisecond); r.Err != "unsupported" && (r.Err != "" || r.Ops == 0) {
			t.Errorf("%s: %d messages, %s", name, r.Ops, r.Err)
		}
	}
}
