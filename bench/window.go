package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// What the histograms tell apart: to 1 %, and no less than 32 ns. Three digits
// would make those of many callers fall out of the processor's caches.
const (
	shortestLatency = 32 * time.Nanosecond
	longestLatency  = time.Minute
	latencyDigits   = 2
)

// phase is where a window is.
type phase int32

const (
	warmingUp phase = iota
	counting
	ending
)

// sample is what one window measured.
type sample struct {
	Round   int           `json:"round"`
	Count   int64         `json:"count"` // of requests, or of messages, that ended in it
	Beside  int64         `json:"beside,omitempty"`
	Elapsed time.Duration `json:"elapsed_ns"`

	// Of requests.
	P50  time.Duration `json:"p50_ns,omitempty"`
	P99  time.Duration `json:"p99_ns,omitempty"`
	P999 time.Duration `json:"p99_9_ns,omitempty"`
	Max  time.Duration `json:"max_ns,omitempty"`

	// Of each that was counted.
	Allocs float64       `json:"allocs_each"`
	Memory float64       `json:"allocated_bytes_each"`
	CPU    time.Duration `json:"cpu_ns_each"` // 0 where the system does not tell
	// Wire is how many bytes of frames of core the connection has taken and given in both directions,
	// of inmem too: not what TLS, websocket, QUIC and IP add to them; 0 where nobody counts. The
	// name in JSON is older than that distinction.
	Wire float64 `json:"wire_bytes_each,omitempty"`
}

// PerSecond is the rate of the window.
func (s *sample) PerSecond() float64 { return float64(s.Count) / s.Elapsed.Seconds() }

// BesidePerSecond is the rate of what was done beside what was measured.
func (s *sample) BesidePerSecond() float64 { return float64(s.Beside) / s.Elapsed.Seconds() }

// bench runs windows. What it needs it allocates beforehand, so that it does
// not count its own allocations.
type bench struct {
	workers []worker
	total   *hdrhistogram.Histogram // of what the last window measured
	mem     runtime.MemStats
}

// worker is the place of one task.
type worker struct {
	latency *hdrhistogram.Histogram // of the steps that began while the window counted
	done    int64                   // steps that ended while it did
}

func newBench(tasks int) *bench {
	b := &bench{workers: make([]worker, tasks), total: newHistogram()}
	for i := range b.workers {
		b.workers[i].latency = newHistogram()
	}
	return b
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortestLatency), int64(longestLatency), latencyDigits)
}

// reading is what the process has used so far.
type reading struct {
	mallocs, bytes uint64
	wire           int64
	cpu            time.Duration
	at             time.Time
}

// before reads in the order that keeps the reading out of what is read. Bytes are read next to the
// clock, or those that go while memory is read would count, and their calls would not.
func (b *bench) before(wire func() int64) (r reading) {
	runtime.ReadMemStats(&b.mem)
	r.mallocs, r.bytes = b.mem.Mallocs, b.mem.TotalAlloc
	r.cpu, _ = processorTime()
	r.wire = wire()
	r.at = time.Now()
	return r
}

func (b *bench) after(wire func() int64) (r reading) {
	r.at = time.Now()
	r.wire = wire()
	r.cpu, _ = processorTime()
	runtime.ReadMemStats(&b.mem)
	r.mallocs, r.bytes = b.mem.Mallocs, b.mem.TotalAlloc
	return r
}

// window lets the tasks run and measures them for a while, after they have run
// for warmUp uncounted. It ends early if ctx does, or if a step fails.
func (b *bench) window(ctx context.Context, l *load, t tasks, warmUp, length time.Duration) (s sample, err error) {
	for {
		s, err = b.oneWindow(ctx, l, t, warmUp, length)
		if !errors.Is(err, errTooShort) || length > longestWindow {
			return s, err
		}
		length *= windowGrowth // the machine was busy with something else
	}
}

const (
	// longestWindow is the length up to which a window in which nothing ended is
	// tried again, windowGrowth times as long.
	longestWindow = 5 * time.Second
	windowGrowth  = 4
)

var errTooShort = errors.New("nothing ended in the window")

// oneWindow is one attempt of window.
func (b *bench) oneWindow(ctx context.Context, l *load, t tasks, warmUp, length time.Duration) (sample, error) {
	all := slices.Concat(t.measured, t.beside)
	b.total.Reset()
	for i := range all {
		b.workers[i].latency.Reset()
		b.workers[i].done = 0
	}
	runtime.GC() // what the window before has left is not for this one to clean up
	var now atomic.Int32
	failed := make(chan error, 1)
	var wg sync.WaitGroup
	for i, begin := range all {
		wg.Go(func() {
			if err := b.workers[i].run(ctx, begin, &now); err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
	}
	wire := t.wire
	if wire == nil {
		wire = func() int64 { return 0 }
	}
	var first, last reading
	err := pause(ctx, warmUp, failed)
	if err == nil {
		first = b.before(wire)
		now.Store(int32(counting))
		err = pause(ctx, length, failed)
	}
	now.Store(int32(ending))
	last = b.after(wire) // what is under way still has its latency measured, but is no part of the rate
	wg.Wait()
	if err == nil {
		select {
		case err = <-failed:
		default:
		}
	}
	if t.settle != nil {
		t.settle(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return sample{}, ctx.Err() // and what failed, failed because of that
	case err != nil:
		return sample{}, err
	}
	s := sample{Elapsed: last.at.Sub(first.at)}
	for i := range t.measured {
		b.total.Merge(b.workers[i].latency)
		s.Count += b.workers[i].done * int64(l.each)
	}
	for i := range t.beside {
		s.Beside += b.workers[len(t.measured)+i].done
	}
	if s.Count == 0 || len(t.beside) > 0 && s.Beside == 0 {
		return sample{}, fmt.Errorf("%w of %v", errTooShort, s.Elapsed.Round(time.Millisecond))
	}
	if l.table != streams {
		quantile := func(q float64) time.Duration { return time.Duration(b.total.ValueAtQuantile(q)) }
		s.P50, s.P99, s.P999, s.Max = quantile(50), quantile(99), quantile(99.9), quantile(100)
	}
	s.Allocs = float64(last.mallocs-first.mallocs) / float64(s.Count)
	s.Memory = float64(last.bytes-first.bytes) / float64(s.Count)
	s.Wire = float64(last.wire-first.wire) / float64(s.Count)
	s.CPU = (last.cpu - first.cpu) / time.Duration(s.Count)
	return s, nil
}

// run steps until the window ends. It counts the steps that ended while the window
// counted, for the rate, and measures those that began while it did, of which it waits
// for the last one: leaving it out would leave out the slow ones.
func (w *worker) run(ctx context.Context, begin task, now *atomic.Int32) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	step, end, err := begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	done := int64(0) // not in w, which shares its cache line with other workers
	epoch := time.Now()
	began := time.Since(epoch)
	for at := phase(now.Load()); at != ending; {
		if err := step(); err != nil {
			return err
		}
		ended := time.Since(epoch)
		if at == counting {
			// What is longer than the histogram would have timed out.
			_ = w.latency.RecordValue(int64(ended - began))
		}
		if at = phase(now.Load()); at == counting {
			done++
		}
		began = ended
	}
	w.done = done
	return nil
}

// pause waits. It returns early if ctx ends or something arrives on failed.
func pause(ctx context.Context, d time.Duration, failed <-chan error) error {
	if d <= 0 {
		select {
		case err := <-failed:
			return err
		default:
			return ctx.Err()
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
