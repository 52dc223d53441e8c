package h

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const (
	ms = time.Millisecond
	us = time.Microsecond
)

// sleepers returns callers that all use the same echo, in a bubble.
func sleepers(n int, echo EchoFn) (callers []caller) {
	for range n {
		callers = append(callers, caller{echo: echo, sleep: func(until time.Time) error {
			time.Sleep(time.Until(until))
			return nil
		}})
	}
	return callers
}

// stalling returns an echo that takes 100 µs, and 50 ms for the call of that
// number.
func stalling(number int64) EchoFn {
	var calls atomic.Int64
	return func(req []byte) (int, error) {
		if calls.Add(1) == number {
			time.Sleep(50 * ms)
		} else {
			time.Sleep(100 * us)
		}
		return len(req), nil
	}
}

// TestStallIsNotHidden holds that calls that a stalled caller could not begin
// count with the time they waited, which a closed loop would not see.
func TestStallIsNotHidden(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load := OpenLoad{Size: 8, Rate: 1000, Warm: 10 * ms, Dur: 100 * ms}
		r, _, err := window(load, sleepers(1, stalling(21)), nil)
		if err != nil {
			t.Fatal(err)
		}
		var want, lag []time.Duration
		now := time.Duration(0) // when the caller is free, from the first counted call on
		for i := range 100 {
			due := time.Duration(i) * ms
			began := max(now, due)
			now = began + 100*us
			if i == 10 {
				now = began + 50*ms
			}
			want = append(want, now-due)
			lag = append(lag, began-due)
		}
		if !slices.Equal(r.latency, want) {
			t.Errorf("got %v, want %v", r.latency, want)
		}
		if !slices.Equal(r.lag, lag) {
			t.Errorf("lag: got %v, want %v", r.lag, lag)
		}
	})
}

// TestOthersGoOn holds that one call that takes long delays no other as long as
// there are callers.
func TestOthersGoOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load := OpenLoad{Size: 8, Rate: 1000, Warm: 10 * ms, Dur: 100 * ms}
		r, _, err := window(load, sleepers(2, stalling(21)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range r.latency {
			want := 100 * us
			if i == 10 {
				want = 50 * ms
			}
			if got != want || r.lag[i] != 0 {
				t.Errorf("call %d took %v and began %v late, want %v and 0s", i, got, r.lag[i], want)
			}
		}
	})
}

// TestLastCallsCount holds that the window waits for calls that were to begin in
// it, however late they do.
func TestLastCallsCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load := OpenLoad{Size: 8, Rate: 1000, Dur: 100 * ms}
		r, _, err := window(load, sleepers(1, stalling(91)), nil)
		if err != nil {
			t.Fatal(err)
		}
		// The 91st is due after 90 ms and ends after 140; nine are left.
		if got, want := r.latency[99], 140*ms+9*100*us-99*ms; got != want {
			t.Errorf("the last call took %v, want %v", got, want)
		}
	})
}

// TestBulkRate holds that the echoes that end in the window make up the rate of
// the bulk, and that there is bulk until the last small call has come back.
func TestBulkRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		load := OpenLoad{Size: 8, Rate: 1000, Warm: 10 * ms, Dur: 100 * ms, Bulk: 1e6}
		var last time.Duration
		begun := time.Now()
		bulk := func(req []byte) (int, error) {
			time.Sleep(2 * ms)
			if last = time.Since(begun); last < headStart+10*ms {
				time.Sleep(3 * ms) // slower while it warms up
			}
			return len(req), nil
		}
		if _, rate, err := window(load, nil, bulk); rate != 500 || err != nil {
			t.Errorf("alone: got %v MB/s and the error %v, want 500 MB/s", rate, err)
		}
		begun = time.Now()
		_, rate, err := window(load, sleepers(1, stalling(110)), bulk)
		if rate != 500 || err != nil {
			t.Errorf("beside calls: got %v MB/s and the error %v, want 500 MB/s", rate, err)
		}
		if end := headStart + 109*ms + 50*ms; last < end {
			t.Errorf("the last bulk ended after %v, the last small call only after %v", last, end)
		}
	})
}

// TestWindowFails holds that what fails, in the small calls or in the bulk, ends
// the window early and is told.
func TestWindowFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	fine := func(req []byte) (int, error) {
		time.Sleep(100 * us)
		return len(req), nil
	}
	failing := func([]byte) (int, error) {
		time.Sleep(ms)
		return 0, broken
	}
	short := func(req []byte) (int, error) { return len(req) - 1, nil }
	for _, test := range []struct {
		name        string
		small, bulk EchoFn
		early       bool // bulk that does not fail goes on for the whole window
		want        string
	}{
		{"small", failing, fine, false, "small: broken"},
		{"small alone", failing, nil, true, "small: broken"},
		{"bulk", fine, failing, true, "bulk: broken"},
		{"short small", short, fine, false, "small: got 7 bytes, want 8"},
		{"short bulk", fine, short, true, "bulk: got 15 bytes, want 16"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				load := OpenLoad{Size: 8, Rate: 1000, Warm: 10 * ms, Dur: time.Second, Bulk: 16}
				callers := append(sleepers(1, test.small), sleepers(1, fine)...)
				_, _, err := window(load, callers, test.bulk)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got the error %v, want %q", err, test.want)
				}
				if d := time.Since(begun); test.early && d > 100*ms {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// TestQuantiles holds that figures are those of the values, to a thousandth,
// also where a value is longer than a histogram holds.
func TestQuantiles(t *testing.T) {
	t.Parallel()
	var values []time.Duration
	for i := range 1000 {
		values = append(values, time.Duration(i+1)*us)
	}
	q := quantiles(values)
	for percent, want := range map[float64]float64{50: 500, 99: 990, 99.9: 999, 100: 1000} {
		if got := q(percent); got < want*0.999 || got > want*1.001 {
			t.Errorf("p%v is %v µs, want %v", percent, got, want)
		}
	}
	if got := quantiles([]time.Duration{2 * longest})(100); got < float64(longest/us)*0.999 {
		t.Errorf("a value that is too long counts as %v µs", got)
	}
}

// TestAlarm holds that an alarm wakes at its instant and not before, more than
// once, and does not wait for one that is over.
func TestAlarm(t *testing.T) {
	t.Parallel()
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	for _, d := range []time.Duration{2 * ms, 300 * us, 0, -time.Hour, ms} {
		until := time.Now().Add(d)
		if err := a.sleep(until); err != nil {
			t.Fatal(err)
		}
		if early := time.Until(until); early > 0 {
			t.Errorf("it woke %v too early", early)
		}
	}
}

// TestOpenLoop holds that a contender is measured in all three windows and that
// one that fails says so.
func TestOpenLoop(t *testing.T) {
	t.Parallel()
	closed := false
	f := &Factory{Name: "local", Open: func(conc int) (*Peer, error) {
		if conc != 4 {
			t.Errorf("opened for %d workers, want 4", conc)
		}
		return &Peer{
			NewWorker: func() (EchoFn, error) { return func(req []byte) (int, error) { return len(req), nil }, nil },
			Close:     func() { closed = true },
		}, nil
	}}
	load := OpenLoad{Size: 8, Rate: 2000, Callers: 3, Bulk: 1000, Warm: 5 * ms, Dur: 200 * ms}
	r := OpenLoop(f, load)
	if r.Err != "" || !closed {
		t.Errorf("closed: %v, error: %q", closed, r.Err)
	}
	if r.Mode != "hol-open" || r.Peer != "local" || r.Size != 8 || r.Conc != 3 || r.Rate != 2000 || r.BulkB != 1000 || r.Ops != 800 {
		t.Errorf("got %+v", r)
	}
	if r.IdleP50 <= 0 || r.P50 <= 0 || r.IdleP50 > r.IdleMax || r.P50 > r.Max || r.BulkMBs <= 0 || r.BulkAloneMBs <= 0 {
		t.Errorf("got %+v", r)
	}

	f.Open = func(int) (*Peer, error) { return nil, errors.New("no way") }
	if r := OpenLoop(f, load); r.Err != "no way" {
		t.Errorf("got the error %q", r.Err)
	}
}
