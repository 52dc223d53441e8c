package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/gridmux/gridmux/core"
)

// What a histogram of a link tells apart: to 0.1 %, from 1 µs on.
const (
	shortestLinkLatency = time.Microsecond
	linkLatencyDigits   = 3
)

// paceInterval is how often a paced stream has a message.
const paceInterval = 10 * time.Millisecond

// parts is how many equal parts a run has, whose percentiles are the samples that tell a
// difference from chance.
const parts = usualRounds

// paced is what happens on a link: calls that are due at fixed times, whatever became
// of those before (an open loop), beside streams that carry so much a second.
type paced struct {
	rate     int           // calls per second
	size     int           // of a request, and of its answer
	payload  func() []byte // what a request is; nil: random bytes
	streams  int
	bits     float64 // per second, of each stream
	fitted   bool    // it is smaller than usual, for the path to carry it
	warmUp   time.Duration
	duration time.Duration // what is counted, after the warm-up
	// waker makes what wakes who calls; nil: the timers of the runtime.
	waker func() waker
}

// message is how large a message of a stream is.
func (p *paced) message() int {
	return max(1, int(p.bits*paceInterval.Seconds()/8+0.5))
}

// content is what a request is.
func (p *paced) content() []byte {
	if p.payload == nil {
		return randomBytes(p.size)()
	}
	return p.payload()
}

// tooMuch says that the rate is not one that a machine could have. sized is the flag with the
// size.
func (p *paced) tooMuch(sized string) error {
	if int64(p.size)*int64(p.rate) > maxInFlight {
		return fmt.Errorf("flags %s and -link-rate %d: together over %d MiB per second: lower one of them",
			sized, p.rate, maxInFlight>>20)
	}
	return nil
}

// leastPaced is how many calls a run has at least.
const leastPaced = 50

// tooLittle says that there are too few calls to say anything of. name is the flag with the
// duration.
func (p *paced) tooLittle(name string) error {
	if float64(p.rate)*p.duration.Seconds() >= leastPaced {
		return nil
	}
	least := (leastPaced*time.Second/time.Duration(p.rate) + time.Millisecond - 1).Truncate(time.Millisecond)
	return fmt.Errorf("flags -link-rate %d and -%s %v: fewer than %d calls, of which no percentile says anything: "+
		"use at least %v, or a higher rate", p.rate, name, p.duration, leastPaced, least)
}

// pacedResult is what became of the calls that were due while it was counted.
type pacedResult struct {
	latency [parts]*hdrhistogram.Histogram // of all calls; those that failed took the time-out
	when    *timeline
	failed  int64
	failure error         // of one of the calls that failed
	bits    float64       // per second, of all streams together
	elapsed time.Duration // shorter than was asked for if it was interrupted
}

// pacedRun is a paced load at work.
type pacedRun struct {
	paced

	to      *core.Connection
	request []byte
	options []core.CallOption
	began   time.Time    // from when on it is counted
	octets  atomic.Int64 // that the streams sent since, until the end

	mu      sync.Mutex // guards what follows; a leaf
	result  pacedResult
	pending map[int]time.Time // by their numbers, when calls were due that are under way; nil after the end
}

// run calls and sends until the time is over, and waits for the last answers. Its
// error is that of a stream. When ctx ends so does the run: calls that are under way
// then count with what they have taken so far, for without the slowest the figures
// would be too good.
func (p *paced) run(ctx context.Context, to *core.Connection) (pacedResult, error) {
	r := &pacedRun{
		paced: *p, to: to, request: p.content(), options: []core.CallOption{core.WithTimeout(callTimeout)},
		began: time.Now().Add(p.warmUp), pending: map[int]time.Time{},
	}
	r.result.when = &timeline{length: r.duration}
	for i := range r.result.latency {
		r.result.latency[i] = newLinkHistogram()
	}
	// What is under way is not cancelled before the books are closed, or it would have failed.
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg, calls sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	failed := make(chan error, p.streams)
	for i := range p.streams {
		wg.Go(func() {
			if err := r.stream(work, i); err != nil && work.Err() == nil {
				failed <- err
			}
		})
	}
	err := r.callAll(ctx, work, &calls, failed)
	answered := make(chan struct{})
	wg.Go(func() {
		calls.Wait()
		close(answered)
	})
	if err == nil {
		select {
		case <-answered: // each call has a time-out
		case err = <-failed:
		case <-ctx.Done():
		}
	}
	result := r.end()
	if ctx.Err() != nil {
		err = nil // and what failed, failed because of that
	}
	return result, err
}

func newLinkHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(shortestLinkLatency), int64(longestLatency), linkLatencyDigits)
}

// callAll starts every call when it is due.
func (r *pacedRun) callAll(ctx, work context.Context, calls *sync.WaitGroup, failed <-chan error) error {
	start := r.began.Add(-r.warmUp)
	var w waker = timers{}
	if r.waker != nil {
		w = r.waker()
	}
	defer w.close()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(r.rate))
		if due.Sub(r.began) >= r.duration {
			return w.wait(ctx, r.began.Add(r.duration), failed) // the streams go on until then
		}
		if err := w.wait(ctx, due, failed); err != nil {
			return err
		}
		counted := !due.Before(r.began)
		if counted {
			r.mu.Lock()
			r.pending[i] = due
			r.mu.Unlock()
		}
		calls.Go(func() { r.call(work, i, due, counted) })
	}
}

// call makes one call.
func (r *pacedRun) call(ctx context.Context, i int, due time.Time, counted bool) {
	answer, err := r.to.Request(ctx, echoID, r.request, r.options...)
	if err == nil && !bytes.Equal(answer, r.request) {
		err = errWrongAnswer
	}
	if !counted {
		return
	}
	ended := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.pending[i]; !ok {
		return
	}
	delete(r.pending, i)
	if err != nil {
		r.result.failed++
		r.result.failure = err
		if timeout := due.Add(callTimeout); ended.Before(timeout) {
			ended = timeout // to fail at once is not to be fast
		}
	}
	r.record(due, ended)
}

// record notes what a call took, counted from when it was due.
func (r *pacedRun) record(due, ended time.Time) {
	part := int(due.Sub(r.began) * parts / r.duration)
	// What is longer than the histogram would have timed out.
	latency := max(ended.Sub(due), shortestLinkLatency)
	_ = r.result.latency[part].RecordValue(int64(latency))
	r.result.when.call(due.Sub(r.began), latency)
}

// stream sends a message at every interval. One that could not be sent in time is
// not left out: the stream catches up.
func (r *pacedRun) stream(ctx context.Context, number int) error {
	message := randomBytes(r.message())()
	s, err := r.to.OpenStream(ctx, sinkID, message, core.WithTimeout(r.warmUp+r.duration+2*callTimeout))
	if err != nil {
		return err
	}
	defer s.Close()
	// The streams take turns.
	start := r.began.Add(-r.warmUp + paceInterval*time.Duration(number)/time.Duration(r.streams))
	for i := 0; ; i++ {
		if err := pause(ctx, time.Until(start.Add(time.Duration(i)*paceInterval)), nil); err != nil {
			return err
		}
		if err := s.Send(message); err != nil {
			return err
		}
		if since := time.Since(r.began); since >= 0 && since < r.duration {
			r.octets.Add(int64(len(message)))
			r.result.when.sent(since, len(message))
		}
	}
}

// end closes the books.
func (r *pacedRun) end() pacedResult {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, due := range r.pending {
		r.record(due, now)
	}
	r.pending = nil
	r.result.elapsed = min(max(now.Sub(r.began), 0), r.duration)
	if r.result.elapsed > 0 {
		r.result.bits = 8 * float64(r.octets.Load()) / r.result.elapsed.Seconds()
	}
	return r.result
}
