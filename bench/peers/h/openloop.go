package h

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// OpenLoad is what the open-loop mode offers to a contender: small calls at a
// fixed rate, whatever becomes of those before, and bulk in a closed loop.
type OpenLoad struct {
	Size    int // bytes of a small call and of its echo
	Rate    int // small calls per second
	Callers int // workers for the small calls: how many can be in progress at once
	Bulk    int // bytes of a bulk call and of its echo
	Warm    time.Duration
	Dur     time.Duration
}

// OpenLoopResult is what the open-loop mode measured. The latencies of the
// embedded Result are those of the small calls beside bulk and its BulkMBs is
// the rate of the bulk beside the small calls; Ops counts the small calls of
// both phases that have some.
type OpenLoopResult struct {
	Result

	Rate         int     // small calls per second
	BulkB        int     // bytes of a bulk call
	IdleP50      float64 // µs, of the small calls without bulk
	IdleP99      float64
	IdleP999     float64
	IdleMax      float64
	BulkAloneMBs float64 // MB/s each way, without small calls
	LagP99       float64 // µs by which the harness began the small calls beside bulk too late; part of their latency
	IdleLagP99   float64 // the same without bulk
}

// OpenLoop measures one contender in three windows on one connection: the small
// calls, the bulk, and both together. The latency of a small call counts from
// the instant at which it was to begin and every call that was to begin in the
// window counts, so that a contender that stalls cannot hide the calls that
// waited meanwhile.
func OpenLoop(f *Factory, load OpenLoad) OpenLoopResult {
	res := OpenLoopResult{
		Result: Result{Mode: "hol-open", Peer: f.Name, Size: load.Size, Conc: load.Callers},
		Rate:   load.Rate,
		BulkB:  load.Bulk,
	}
	if err := openLoop(f, load, &res); err != nil {
		res.Err = err.Error()
	}
	return res
}

func openLoop(f *Factory, load OpenLoad, res *OpenLoopResult) error {
	p, err := f.Open(load.Callers + 1)
	if err != nil {
		return err
	}
	defer p.Close()
	callers := make([]caller, load.Callers)
	alarms := make([]*alarm, 0, load.Callers)
	defer func() {
		for _, a := range alarms {
			a.close()
		}
	}()
	for i := range callers {
		a, err := newAlarm()
		if err != nil {
			return err
		}
		alarms = append(alarms, a)
		echo, err := p.NewWorker()
		if err != nil {
			return err
		}
		callers[i] = caller{echo: echo, sleep: a.sleep}
	}
	bulk, err := p.NewWorker()
	if err != nil {
		return err
	}

	u0, s0 := cpu()
	b0, _ := machine()
	t0 := time.Now()
	idle, _, err := window(load, callers, nil)
	if err != nil {
		return err
	}
	_, alone, err := window(load, nil, bulk)
	if err != nil {
		return err
	}
	beside, rate, err := window(load, callers, bulk)
	if err != nil {
		return err
	}
	elapsed := time.Since(t0)
	u1, s1 := cpu()
	b1, _ := machine()
	res.Other = other(b0, b1, u1-u0+s1-s0, elapsed)

	was, is := quantiles(idle.latency), quantiles(beside.latency)
	res.IdleP50, res.IdleP99, res.IdleP999, res.IdleMax = was(50), was(99), was(99.9), was(100)
	res.P50, res.P99, res.P999, res.Max = is(50), is(99), is(99.9), is(100)
	res.IdleLagP99, res.LagP99 = quantiles(idle.lag)(99), quantiles(beside.lag)(99)
	res.BulkAloneMBs, res.BulkMBs = alone, rate
	res.Ops = uint64(len(idle.latency) + len(beside.latency))
	res.OpsPerS = float64(load.Rate)
	return nil
}

// caller makes small calls, one at a time.
type caller struct {
	echo  EchoFn
	sleep func(until time.Time) error
}

// window runs the callers, if there are any, and beside them the bulk, if it is
// not nil, and returns what the calls recorded and the rate of the bulk in MB/s.
func window(load OpenLoad, callers []caller, bulk EchoFn) (*recorder, float64, error) {
	runtime.GC() // what the window before has left is not for this one to clean up
	s := newSchedule(load)
	r := newRecorder(s.counted)
	var (
		failures = make(chan error, len(callers)+1)
		small    sync.WaitGroup
		rate     float64
	)
	payload := pay(load.Size)
	for _, c := range callers {
		small.Go(func() {
			if err := c.run(s, r, payload); err != nil {
				s.cut()
				failures <- fmt.Errorf("small: %w", err)
			}
		})
	}
	if bulk != nil {
		var done atomic.Bool
		var large sync.WaitGroup
		large.Go(func() {
			var err error
			if rate, err = closedLoop(bulk, pay(load.Bulk), s.begin(), s.end(), &done); err != nil {
				s.cut()
				failures <- fmt.Errorf("bulk: %w", err)
			}
		})
		small.Wait()
		done.Store(true) // it goes on until the last small call is back
		large.Wait()
	}
	small.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	return r, rate, errors.Join(all...)
}

// run takes calls from the schedule until there are no more.
func (c caller) run(s *schedule, r *recorder, payload []byte) error {
	for {
		i, at, ok := s.take()
		if !ok {
			return nil
		}
		if err := c.sleep(at); err != nil {
			return err
		}
		began := time.Now()
		n, err := c.echo(payload)
		ended := time.Now()
		if err != nil {
			return err
		}
		if n != len(payload) {
			return fmt.Errorf("got %d bytes, want %d", n, len(payload))
		}
		r.record(i-s.warm, at, began, ended)
	}
}

// closedLoop sends bulk back to back, at least until end and then until done,
// and returns the rate in MB/s of the echoes that ended in the window.
func closedLoop(echo EchoFn, payload []byte, begin, end time.Time, done *atomic.Bool) (float64, error) {
	echoes := 0
	for {
		n, err := echo(payload)
		if err != nil {
			return 0, err
		}
		if n != len(payload) {
			return 0, fmt.Errorf("got %d bytes, want %d", n, len(payload))
		}
		switch now := time.Now(); {
		case now.Before(begin):
		case now.Before(end):
			echoes++
		case done.Load():
			return float64(echoes) * float64(len(payload)) / 1e6 / end.Sub(begin).Seconds(), nil
		}
	}
}

// schedule says when calls are to begin: one period apart from the first, which
// does not depend on how those before fared.
type schedule struct {
	first   time.Time
	period  time.Duration
	warm    int // calls at the beginning that are not counted
	counted int
	next    atomic.Int64
}

// headStart is how long after the schedule is made its first call is due, so
// that the callers are there when it is.
const headStart = 5 * time.Millisecond

func newSchedule(load OpenLoad) *schedule {
	calls := func(d time.Duration) int { return int(d.Seconds() * float64(load.Rate)) }
	return &schedule{
		first:   time.Now().Add(headStart),
		period:  time.Second / time.Duration(load.Rate),
		warm:    calls(load.Warm),
		counted: max(calls(load.Dur), 1),
	}
}

// take returns the number and the instant of the next call that nobody has
// taken, and false if there is none. Any goroutine may call it.
func (s *schedule) take() (i int, at time.Time, ok bool) {
	i = int(s.next.Add(1)) - 1
	return i, s.at(i), i < s.warm+s.counted
}

func (s *schedule) at(i int) time.Time { return s.first.Add(time.Duration(i) * s.period) }

// begin and end are the instants between which the counted calls are to begin.
func (s *schedule) begin() time.Time { return s.at(s.warm) }
func (s *schedule) end() time.Time   { return s.at(s.warm + s.counted) }

// cut takes all calls that are left.
func (s *schedule) cut() { s.next.Store(int64(s.warm + s.counted)) }

// recorder has a place of its own for every call of a window: recording one
// takes no lock and allocates nothing, and none is lost.
type recorder struct{ latency, lag []time.Duration }

func newRecorder(calls int) *recorder {
	return &recorder{latency: make([]time.Duration, calls), lag: make([]time.Duration, calls)}
}

// record notes a call by its number in the window; negative numbers, which are
// those of the warm-up, are not counted. Different calls may be recorded
// concurrently.
func (r *recorder) record(i int, intended, began, ended time.Time) {
	if i >= 0 {
		r.latency[i] = ended.Sub(intended)
		r.lag[i] = began.Sub(intended)
	}
}

// longest is what a histogram can hold; a process is ended long before.
const longest = time.Hour

// quantiles returns a function that tells which latency in µs the given per
// cent of the values stay within, to a thousandth.
func quantiles(values []time.Duration) func(percent float64) float64 {
	hist := hdrhistogram.New(1, int64(longest), 3)
	for _, v := range values {
		_ = hist.RecordValue(int64(min(max(v, 0), longest))) // fails for what is out of its bounds
	}
	return func(percent float64) float64 { return float64(hist.ValueAtQuantile(percent)) / 1000 }
}
