package sim_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// errEnough is how a caller leaves a loop over messages.
var errEnough = errors.New("the caller has enough")

// talk holds a talk for its caller, and returns what it ended with.
func (w *world) talk(ctx context.Context, in *incarnation, spec *talkSpec) error {
	t := w.beginTalk(in, spec)
	opts := []core.CallOption{core.WithPriority(spec.prio)}
	opts = append(opts, w.p.compress.ofCall(spec.payload)...)
	if spec.wait {
		opts = append(opts, core.WaitForConnection())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	switch at := t.opened + spec.after; spec.end {
	case endNever:
	case endTimeout:
		opts = append(opts, core.WithTimeout(spec.after))
		t.deadline = at
	case endDeadline:
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, w.start.Add(at))
		defer stop()
		t.deadline = at
	case endCancel:
		timer := time.AfterFunc(spec.after, cancel)
		defer timer.Stop()
		t.cancel = at
	}
	payload := appendMessage(nil, t.number, true, payloadSeq, max(spec.payload, minPayload))
	conn := in.m.Connection(w.memberName(spec.to))
	var c *caller
	var err error
	if spec.channels {
		var s *core.Stream
		if s, err = conn.NewStream(ctx, spec.handler, payload, opts...); err == nil {
			c = channelCaller(s)
		}
	} else {
		var s *core.RawStream
		if s, err = conn.OpenStream(ctx, spec.handler, payload, opts...); err == nil {
			c = rawCaller(s, spec.leave == leaveBreak)
		}
	}
	clear(payload)
	if err == nil {
		c.t, c.ctx, c.cancel = t, ctx, cancel
		err = c.hold()
	}
	t.returnedWith(err)
	return err
}

// memberName is the name of a node, or of the rogue.
func (w *world) memberName(i int) string {
	if i >= w.p.nodes {
		return rogueName
	}
	return nameOf(i)
}

// caller is the calling end of a talk, in either form.
type caller struct {
	t      *talk
	ctx    context.Context
	cancel context.CancelFunc
	over   <-chan struct{}
	keeps  bool // send takes the message over
	send   func(msg []byte) error
	half   func()
	close  func() error
	err    func() error
	// each calls fn for every message until it returns false. It returns nil
	// after a clean end.
	each func(fn func(msg []byte) bool) error
}

func rawCaller(s *core.RawStream, loop bool) *caller {
	c := &caller{over: s.Done(), send: s.Send, half: func() { _ = s.CloseSend() }, close: s.Close, err: s.Err}
	c.each = func(fn func(msg []byte) bool) error {
		var buf []byte
		for {
			var err error
			if buf, err = s.Recv(buf[:0]); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if !fn(buf) {
				return errEnough
			}
		}
	}
	if loop {
		c.each = func(fn func(msg []byte) bool) error {
			for msg, err := range s.All() {
				if err != nil {
					return err
				}
				if !fn(msg) {
					return errEnough
				}
			}
			return nil
		}
	}
	return c
}

func channelCaller(s *core.Stream) *caller {
	return &caller{
		over: s.Done(), keeps: true, send: s.Send, half: func() { close(s.Requests) }, close: s.Close, err: s.Err,
		each: func(fn func(msg []byte) bool) error {
			return s.Results(func(msg []byte) error {
				if !fn(msg) {
					return errEnough
				}
				return nil
			})
		},
	}
}

// hold sends and receives until the stream is over, or the caller has enough of
// it. It returns what it ended with.
func (c *caller) hold() error {
	t, spec := c.t, c.t.spec
	var sending sync.WaitGroup
	send := func() { t.sendAll(c.ctx, c.over, true, c.keeps, c.send, c.half) }
	switch {
	case len(spec.up.sizes) == 0 && !spec.up.half:
	case spec.first:
		send()
	default:
		sending.Go(send)
	}
	received := 0
	more := spec.leave == leaveNever || spec.leaveAt > 0 || c.leave()
	var err error
	if more {
		err = c.each(func(msg []byte) bool {
			t.take(c.ctx, c.over, false, msg)
			received++
			return spec.leave == leaveNever || received != spec.leaveAt || c.leave()
		})
		t.checkEnd(false, err)
	}
	if errors.Is(err, errEnough) || !more {
		if spec.leave == leaveForgets {
			d := spec.after / 2
			if spec.leaveAt%2 == 0 {
				d = -1 // until its time is over
			}
			t.rest(c.ctx, c.over, d)
			c.cancel()
		}
		t.leaves()
	}
	sending.Wait()
	<-c.over
	return c.err()
}

// leave ends the stream early. It reports whether to go on receiving, to see that
// nothing more comes.
func (c *caller) leave() (more bool) {
	switch c.t.spec.leave {
	case leaveClose:
		_ = c.close()
	case leaveCancel:
		c.t.canceled()
		c.cancel()
	case leaveBreak:
		if c.t.spec.leaveAt > 0 {
			return false // The loop closes it.
		}
		_ = c.close()
	case leaveNever, leaveForgets:
		return false
	}
	c.t.leaves()
	return true
}

// leaves notes that the caller has ended the stream.
func (t *talk) leaves() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		t.left = t.w.now()
	}
}

// canceled notes that the context of the caller ends now.
func (t *talk) canceled() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.w.now(); t.cancel == 0 || now < t.cancel {
		t.cancel = now
	}
}

// returnedWith enters the end of a talk for its caller.
func (t *talk) returnedWith(err error) {
	w := t.w
	t.mu.Lock()
	t.returned, t.err = w.now(), err
	t.move()
	sent, got := t.up.sent, t.down.got
	t.mu.Unlock()
	from, to := t.nodes()
	if from >= 0 && from != to {
		w.mu.Lock()
		w.pairs[keyOf(from, to)].progress = t.returned
		w.mu.Unlock()
	}
	switch {
	case err == nil:
		w.trace.addf("stream %d returns: ok, %d received", t.number, got)
	case t.from.dying.Load():
		w.trace.addf("stream %d fails", t.number)
	default:
		w.trace.addf("stream %d returns: %s", t.number, verdict(err))
	}
	w.trace.notef("stream %d: %d sent, %d received, %v", t.number, sent, got, err)
	t.checkReturn()
	t.checkLoss()
}
