package streams_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// numbered returns message i of a stream that has so many: its number, and more
// bytes in every seventh, so that some travel in parts.
func numbered(i int) []byte {
	size := 8 + i%50
	if i%7 == 6 {
		size = 40_000
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(i)), make([]byte, size-4)...)
}

// received is what one end of a stream got.
type received struct {
	messages int
	gap      bool
	err      error // what the last receive returned
	cause    error // of the handler's context
}

// receiveAll receives up to the end, at once.
func receiveAll(s end) (got received) {
	for {
		msg, err := s.recv()
		if err != nil {
			got.err = err
			return got
		}
		want := numbered(got.messages)
		got.gap = got.gap || len(msg) != len(want) || string(msg[:4]) != string(want[:4])
		got.messages++
	}
}

// twoWay is a handler, and what its caller does: both send and receive so many
// messages at once, and end.
type twoWay struct {
	total int
	began chan bool
	got   chan received // of the handler
}

func newTwoWay(total int) *twoWay { return &twoWay{total, make(chan bool, 1), make(chan received, 1)} }

func (w *twoWay) serve(ctx context.Context, _ []byte, s end) error {
	w.began <- true
	in := make(chan received, 1)
	go func() { in <- receiveAll(s) }()
	var failed error
	for i := 0; i < w.total && failed == nil; i++ {
		failed = s.send(numbered(i))
	}
	got := <-in
	got.cause = context.Cause(ctx)
	w.got <- got
	return failed
}

func (w *twoWay) call(st calling) received {
	go func() {
		for i := range w.total {
			if st.send(numbered(i)) != nil {
				return
			}
		}
		st.closeSend()
	}()
	return receiveAll(st)
}

// check holds that what a side got is a prefix without a gap, that it has ended
// cleanly only with all of it, and that every other end is a lost connection.
func (w *twoWay) check(t *testing.T, side string, got received) (clean bool) {
	t.Helper()
	switch {
	case got.gap || got.messages > w.total:
		t.Errorf("%s: among %d messages is a gap", side, got.messages)
	case got.err == io.EOF && got.messages != w.total:
		t.Errorf("%s: a clean end after %d of %d messages", side, got.messages, w.total)
	case got.err != io.EOF && !errors.Is(got.err, core.ErrDisconnected):
		t.Errorf("%s: the stream ended with %v, want ErrDisconnected", side, got.err)
	}
	return got.err == io.EOF
}

// TestCutsMidStream kills the link at a random moment in the life of a stream
// that carries messages both ways, over a link that is slow enough for every
// moment to matter. Neither side ever gets a clean end that is not the end of
// what was sent, nor messages with a gap between them (D18, I5).
func TestCutsMidStream(t *testing.T) {
	const total = 40
	var clean, cutLate int
	for i, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(18, uint64(i)))
				w := newTwoWay(total)
				c := lab.InmemLink(inmem.WithSeed(uint64(i))).Cluster(t, 2, f.serve("two-way", w.serve, 4, 4))
				c.Memory().SetConditions(inmem.Conditions{Latency: time.Millisecond, Jitter: time.Millisecond, Bandwidth: 5 << 20, Split: true})
				most := lab.Scale(250, 40, 2500) // 1 000 in all forms together
				for broken := 0; broken < most || cutLate == 0 && broken < 10*most; {
					st := f.mustOpen(t, c.Conn(0, 1), "two-way", nil, core.WaitForConnection())
					called := lab.Go(func() received { return w.call(st) })
					lab.Wait(t, w.began, "the handler begins")
					// It takes between 70 and 120 ms when nothing happens.
					time.Sleep(time.Duration(random.Int64N(int64(110 * time.Millisecond))))
					c.Cut(0, 1)
					caller, handler := lab.Wait(t, called, "the caller is through"), lab.Wait(t, w.got, "the handler is through")
					time.Sleep(time.Minute) // the link may be cut after the end of the stream
					a, b := w.check(t, "the caller", caller), w.check(t, "the handler", handler)
					switch {
					case a && b:
						clean++
					case a || b:
						cutLate++
					default:
						broken++
					}
					if !b && !errors.Is(handler.cause, core.ErrDisconnected) {
						t.Errorf("the cause of the handler's context is %v, want ErrDisconnected", handler.cause)
					}
					if !a {
						wantKinds(t, "the caller of a cut stream", st.err(), core.ErrDisconnected)
					}
				}
			})
		})
	}
	if clean == 0 || cutLate == 0 {
		t.Errorf("%d streams ended on one side alone, %d were clean: the moments are not spread over their lives", cutLate, clean)
	}
}

// TestCutsMidStreamOverEveryLink kills the link after a random number of
// messages, over every link (D18, I5).
func TestCutsMidStreamOverEveryLink(t *testing.T) {
	overLinks(t, func(t *testing.T, l *lab.Link, f form) {
		const total = 1 << 20 // never reached
		w := newTwoWay(total)
		c := l.Cluster(t, 2, lab.Impatient(), f.serve("two-way", w.serve, 4, 4))
		for round := range lab.Scale(15, 5, 250) { // 1 000 over each link with -heavy
			st := f.mustOpen(t, c.Conn(0, 1), "two-way", nil, core.WaitForConnection())
			counted := &counting{calling: st, until: 1 + round*7%60, reached: make(chan bool)}
			called := lab.Go(func() received { return w.call(counted) })
			lab.Wait(t, w.began, "the handler begins")
			lab.Wait(t, counted.reached, "so many messages have arrived")
			c.Cut(0, 1)
			caller, handler := lab.Wait(t, called, "the caller is through"), lab.Wait(t, w.got, "the handler is through")
			if w.check(t, "the caller", caller) || w.check(t, "the handler", handler) {
				t.Error("a stream without an end has ended cleanly")
			}
			if !errors.Is(handler.cause, core.ErrDisconnected) {
				t.Errorf("the cause of the handler's context is %v, want ErrDisconnected", handler.cause)
			}
		}
	})
}

// counting tells when so many messages were received.
type counting struct {
	calling
	until   int
	reached chan bool
}

func (c *counting) recv() ([]byte, error) {
	if c.until--; c.until == 0 {
		close(c.reached)
	}
	return c.calling.recv()
}
