package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/gridmux/gridmux/bench/internal/link"
)

// TestSchedule expects a usual run to say from its beginning how long all of it takes, and the last part
// that nothing follows; and links not to count where there are none, nor where nothing crosses them.
func TestSchedule(t *testing.T) {
	unavailable := func(uint64, link.Conditions) (emulated, error) { return nil, errors.Join(link.ErrUnavailable) }
	with, without := program{kinds(), unshaped, nil, nil}, program{kinds(), unavailable, nil, nil}
	opts, err := parseFlags(kinds(), nil)
	if err != nil {
		t.Fatal(err)
	}
	left := with.schedule(&opts, opts.kinds)
	after := left.next()
	all := opts.duration + after
	if all < time.Minute || all > 90*time.Second {
		t.Errorf("a run takes %v, want about 80 s", all)
	}
	for last := after; len(left) > 0; last = after {
		if after = left.next(); after >= last {
			t.Errorf("%v after a part, %v after the one before", after, last)
		}
	}
	if after != 0 {
		t.Errorf("%v after the last part", after)
	}
	left = without.schedule(&opts, opts.kinds)
	overLinks := time.Duration(len(opts.links.over)) * (opts.links.warmUp + opts.links.duration)
	if after := left.next(); opts.duration+after > all-overLinks || opts.duration+after < all-overLinks-10*time.Second {
		t.Errorf("without links %v, with them %v", opts.duration+after, all)
	}
	if opts, err = parseFlags(kinds(), strings.Fields("-workloads paced,compression -compression-time 10s -transports inmem")); err != nil {
		t.Fatal(err)
	}
	left = with.schedule(&opts, opts.kinds)
	if after := left.next(); after != 10*time.Second+opts.paced.takes(1) {
		t.Errorf("%v after the tables, which are not measured", after)
	}
}

// TestInAll expects nothing to be said of the whole run where nothing follows.
func TestInAll(t *testing.T) {
	for after, want := range map[time.Duration]string{0: "", 50 * time.Second: ", 1m20s in all"} {
		if got := inAll(30*time.Second, after); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
