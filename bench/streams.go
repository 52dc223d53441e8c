package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gridmux/gridmux/core"
)

// Handlers of streams. Each gets the message as its payload.
const (
	sourceID  = core.HandlerID("bench.source")  // sends it for ever
	sinkID    = core.HandlerID("bench.sink")    // takes it for ever
	countID   = core.HandlerID("bench.count")   // takes it for ever, and tells of each step
	oftenID   = core.HandlerID("bench.often")   // the same, of shorter ones
	reflectID = core.HandlerID("bench.reflect") // sends it back for ever
)

const (
	// maxStep is how many messages a step has: as many as make the clock, which
	// is read at each, cost nothing.
	maxStep = 64
	// stepBytes bounds a step of large messages.
	stepBytes = 256 << 10
	// oftenStep is how many it has over a real path, which may be so slow that of many streams none ends
	// a longer one in a window.
	oftenStep = 4
)

// What the JSON output calls streams in one direction.
const (
	streamFromB = "stream-from-b"
	streamToB   = "stream-to-b"
)

// streamLoads are messages one way, the other, and both.
func streamLoads(opts options, p plan) (all []load) {
	s := &streamLoad{
		payload: opts.content(),
		step:    stepOf(opts.size), count: countID,
		// So that a stream that hangs is reported.
		options: []core.CallOption{core.WithTimeout(p.warmUp + max(p.window, windowGrowth*longestWindow) + callTimeout)},
	}
	if opts.remote != nil {
		s.step, s.count = min(s.step, oftenStep), oftenID
		longest := max(p.window, windowGrowth*longestWindow, opts.most()/minRounds) // of the slots
		s.options = []core.CallOption{core.WithTimeout(p.warmUp + longest + callTimeout)}
	}
	for _, direction := range []struct {
		name, title string
		task        func(c *core.Connection) task
	}{
		{streamFromB, "from b to a", s.receiver},
		{streamToB, "from a to b", s.sender},
		{"stream-both-ways", "both ways", s.exchanger},
	} {
		for _, n := range opts.streams {
			all = append(all, load{
				table: streams, name: direction.name, title: plural(n, "stream") + " " + direction.title, atOnce: n,
				size: opts.size, each: s.step,
				tasks: func(to []*core.Connection) (t tasks) {
					for range n {
						t.measured = append(t.measured, direction.task(to[0]))
					}
					return t
				},
			})
		}
	}
	return all
}

// stepOf is how many messages of a size a step has.
func stepOf(size int) int { return max(min(stepBytes/max(size, 1), maxStep), 1) }

// streamLoad makes streams, which last for a window.
type streamLoad struct {
	payload func() []byte
	step    int
	count   core.HandlerID // that tells of each step
	options []core.CallOption
}

// aboutStreams describes the load in a sentence without its full stop.
func aboutStreams(size int) string {
	return fmt.Sprintf("messages of %d B by Send and Recv, as fast as they go: from the handler on b to its caller, from the caller "+
		"to the handler, which tells how many it has taken, and both ways, where the handler sends back what it gets and messages "+
		"are counted when they are back", size)
}

// receiver receives what the handler sends.
func (l *streamLoad) receiver(c *core.Connection) task {
	return func(ctx context.Context) (step func() error, end func(), err error) {
		s, err := c.OpenStream(ctx, sourceID, l.payload(), l.options...)
		if err != nil {
			return nil, nil, err
		}
		return l.receive(s), func() { _ = s.Close() }, nil
	}
}

// receive returns a step that takes messages.
func (l *streamLoad) receive(s *core.RawStream) (step func() error) {
	payload := l.payload()
	buf := make([]byte, 0, len(payload))
	checked := false
	return func() error {
		for range l.step {
			msg, err := s.Recv(buf[:0])
			switch {
			case err != nil:
				return err
			case len(msg) != len(payload) || !checked && !bytes.Equal(msg, payload):
				return errWrongAnswer
			}
			checked = true
		}
		return nil
	}
}

// sender sends what the handler takes, and counts what that has taken: what was sent may still be
// in the buffers of a slow path.
func (l *streamLoad) sender(c *core.Connection) task {
	return l.sending(c, l.count, func(s *core.RawStream) func() error {
		var none [0]byte
		return func() error {
			_, err := s.Recv(none[:])
			return err
		}
	})
}

// exchanger sends, and receives what comes back.
func (l *streamLoad) exchanger(c *core.Connection) task { return l.sending(c, reflectID, l.receive) }

// sending sends all the time. A step is what there is to do for what comes back.
func (l *streamLoad) sending(c *core.Connection, to core.HandlerID, back func(s *core.RawStream) (step func() error)) task {
	payload := l.payload()
	return func(ctx context.Context) (step func() error, end func(), err error) {
		s, err := c.OpenStream(ctx, to, payload, l.options...)
		if err != nil {
			return nil, nil, err
		}
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for s.Send(payload) == nil { // what it fails with, Recv does too
			}
		}()
		return back(s), func() {
			_ = s.Close()
			<-sent
		}, nil
	}
}

// serveStreams registers the handlers.
func serveStreams(m *core.Manager) error {
	return errors.Join(
		m.HandleStreamFunc(sourceID, func(_ context.Context, payload []byte, s *core.RawStream) error {
			for {
				if err := s.Send(payload); err != nil {
					return err
				}
			}
		}, core.WithCapacity(0, streamCapacity)),
		m.HandleStreamFunc(sinkID, func(_ context.Context, payload []byte, s *core.RawStream) error {
			return take(s, payload, func([]byte) error { return nil })
		}, core.WithCapacity(streamCapacity, 1)),
		m.HandleStreamFunc(countID, countSteps(maxStep), core.WithCapacity(streamCapacity, streamCapacity)),
		m.HandleStreamFunc(oftenID, countSteps(oftenStep), core.WithCapacity(streamCapacity, streamCapacity)),
		m.HandleStreamFunc(reflectID, func(_ context.Context, payload []byte, s *core.RawStream) error {
			return take(s, payload, s.Send)
		}, core.WithCapacity(streamCapacity, streamCapacity)),
	)
}

// countSteps returns a handler that takes messages, and sends one back for each step, of so many at most.
func countSteps(most int) func(ctx context.Context, payload []byte, s *core.RawStream) error {
	return func(_ context.Context, payload []byte, s *core.RawStream) error {
		step := min(stepOf(len(payload)), most)
		left := step
		return take(s, payload, func([]byte) error {
			left--
			if left > 0 {
				return nil
			}
			left = step
			return s.Send(nil)
		})
	}
}

// streamCapacity leaves the limit on what is under way to the window in bytes.
const streamCapacity = 4096

// take receives until the end, and passes on what is as long as it should be.
func take(s *core.RawStream, want []byte, pass func(msg []byte) error) error {
	var buf []byte
	for {
		var err error
		switch buf, err = s.Recv(buf[:0]); {
		case err == io.EOF: //nolint:errorlint // Recv returns it as it is.
			return nil
		case err != nil:
			return err
		case len(buf) != len(want):
			return errWrongAnswer
		}
		if err := pass(buf); err != nil {
			return err
		}
	}
}
