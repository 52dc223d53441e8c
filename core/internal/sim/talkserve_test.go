package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// talkHandler is a handler of talks.
type talkHandler struct {
	id       core.HandlerID
	channels bool
	takes    bool // messages of the caller
	gives    bool // messages, in earnest: every handler may send some
	timed    bool // has a time-out of its own
}

// talkHandlers are streams in every shape, in both forms.
var talkHandlers = func() (all []talkHandler) {
	for _, channels := range []bool{false, true} {
		form := "raw"
		if channels {
			form = "channels"
		}
		for _, shape := range []talkHandler{
			{id: "none"},
			{id: "up", takes: true},
			{id: "down", gives: true},
			{id: "both", takes: true, gives: true},
			{id: "timed", takes: true, gives: true, timed: true},
		} {
			shape.id, shape.channels = "sim."+shape.id+"."+core.HandlerID(form), channels
			all = append(all, shape)
		}
	}
	return all
}()

// capacities are how many messages the handler has under way.
func (h *talkHandler) capacities(p *profile) (in, out int) {
	if h.takes {
		in = p.capacity[0]
	}
	if h.gives {
		out = p.capacity[1]
	}
	return in, out
}

func (in *incarnation) registerTalks() error {
	var errs []error
	for i := range talkHandlers {
		h := &talkHandlers[i]
		opts := in.options(in.windows...)
		if h.timed {
			opts = append(opts, core.WithTimeout(in.w.p.handlerTime))
		}
		capIn, capOut := h.capacities(in.w.p)
		if h.channels {
			errs = append(errs, in.m.HandleStream(h.id, core.StreamHandler{Handle: in.serveChannels, InCapacity: capIn, OutCapacity: capOut}, opts...))
			continue
		}
		errs = append(errs, in.m.HandleStreamFunc(h.id, in.serveRaw, append(opts, core.WithCapacity(capIn, capOut))...))
	}
	return errors.Join(append(errs, in.m.HandleStreamFunc(hRogueTalk, in.serveRogueTalk, in.options(append(in.windows, core.WithCapacity(in.w.p.capacity[0], in.w.p.capacity[1]))...)...))...)
}

// server is the serving end of a talk, in either form.
type server struct {
	t     *talk
	ctx   context.Context
	over  <-chan struct{} // nil: only the context tells
	keeps bool            // send takes the message over
	send  func(msg []byte) error
	half  func()
	recv  func() ([]byte, error)
	// takeLast receives a message and drops what comes behind it.
	takeLast func() ([]byte, error)
}

func (in *incarnation) serveRaw(ctx context.Context, payload []byte, s *core.RawStream) error {
	var buf []byte
	return in.serveTalk(ctx, payload, &server{
		over: s.Done(), send: s.Send, half: func() { _ = s.CloseSend() },
		recv: func() (msg []byte, err error) {
			buf, err = s.Recv(buf[:0])
			return buf, err
		},
		takeLast: func() ([]byte, error) {
			for msg, err := range s.All() {
				return msg, err // leaves the loop
			}
			return nil, io.EOF
		},
	})
}

func (in *incarnation) serveChannels(ctx context.Context, payload []byte, input <-chan []byte, out chan<- []byte) error {
	return in.serveTalk(ctx, payload, &server{
		keeps: true, half: func() {},
		send: func(msg []byte) error {
			out <- msg
			return nil
		},
		recv: func() ([]byte, error) {
			if msg, ok := <-input; ok {
				return msg, nil
			}
			if err := context.Cause(ctx); err != nil {
				return nil, err
			}
			return nil, io.EOF
		},
	})
}

// serveTalk is every handler of talks.
func (in *incarnation) serveTalk(ctx context.Context, payload []byte, s *server) (err error) {
	w := in.w
	peer := core.PeerFromContext(ctx)
	in.enter(peer, false)
	defer in.leave(peer, false)
	defer in.carries(peer, len(payload))()
	t := w.talkOf(payload)
	if t == nil {
		w.violatef("I4", "%s got a stream from %s with a payload of %s", in.name, peer, describe(payload))
		return nil
	}
	s.t, s.ctx = t, ctx
	t.begins(ctx, in, payload)
	panics := true
	defer func() {
		if panics {
			err = errPanics
		}
		t.checkPayload(payload) // it must have stayed as it was
		t.ends(err)
	}()
	s.exchange()
	err = s.end()
	panics = false
	return err
}

var errPanics = errors.New("the handler panics")

// exchange sends and receives what the talk says.
func (s *server) exchange() {
	switch s.t.spec.order {
	case orderReceive:
		s.receive()
		s.sendAll()
	case orderSend:
		s.sendAll()
		s.receive()
	case orderSendOnly:
		s.sendAll()
	case orderEcho:
		s.echo()
	default:
		var receiving sync.WaitGroup
		receiving.Go(s.receive)
		s.sendAll()
		receiving.Wait()
	}
}

func (s *server) sendAll() {
	s.t.sendAll(s.ctx, s.over, false, s.keeps, s.send, s.half)
}

// receive receives until the caller says that it was the last message, or until
// it is.
func (s *server) receive() {
	up := &s.t.spec.up
	for n := 0; up.half || n < len(up.sizes); n++ {
		if !s.receiveOne(n) {
			return
		}
	}
}

// receiveOne receives message n. It reports whether to go on.
func (s *server) receiveOne(n int) bool {
	recv, last := s.recv, n+1 == s.t.spec.dropAt
	if last {
		recv = s.takeLast
	}
	msg, err := recv()
	if err != nil {
		if err == io.EOF {
			err = nil
		}
		s.t.checkEnd(true, err)
		return false
	}
	s.t.take(s.ctx, s.over, true, msg)
	return !last
}

// echo sends a message for each that it receives, and then the rest.
func (s *server) echo() {
	up, down := &s.t.spec.up, &s.t.spec.down
	sent := 0
	for n := 0; up.half || n < len(up.sizes); n++ {
		if !s.receiveOne(n) {
			break
		}
		if sent < len(down.sizes) {
			if !s.t.sendOne(false, sent, s.keeps, s.send) {
				return
			}
			sent++
		}
	}
	for ; sent < len(down.sizes); sent++ {
		if !s.t.sendOne(false, sent, s.keeps, s.send) {
			return
		}
	}
}

// end is how the handler ends.
func (s *server) end() error {
	t := s.t
	switch t.spec.finish {
	case finishFail:
		return &core.RemoteError{
			Code: coretest.LedgerCode, Message: fmt.Sprintf("stream %d fails as asked", t.number),
			Detail: appendMessage(nil, t.number, false, payloadSeq, minPayload),
		}
	case finishPanic:
		panic(fmt.Sprintf("stream %d panics as asked", t.number))
	case finishBlock:
		t.rest(s.ctx, nil, -1)
		return s.ctx.Err()
	case finishWell:
	}
	t.sayLast(false)
	return nil
}

// begins enters the start of a handler.
func (t *talk) begins(ctx context.Context, in *incarnation, payload []byte) {
	t.mu.Lock()
	t.started++
	t.server, t.serving, t.begun = in, ctx, t.w.now()
	t.move()
	t.mu.Unlock()
	t.w.trace.addf("stream %d starts on %s", t.number, in.name)
	t.checkPayload(payload)
	t.checkStart(ctx)
}

// ends enters the end of a handler.
func (t *talk) ends(err error) {
	t.mu.Lock()
	t.ended, t.result = t.w.now(), err
	t.move()
	t.mu.Unlock()
	t.w.trace.addf("stream %d ends on %s", t.number, t.server.name)
	t.w.trace.notef("stream %d: its handler sent %d, received %d, and ends with %v", t.number, t.down.sent, t.up.got, err)
}

// rogueStops is the payload that has a handler of the rogue's do nothing.
const rogueStops = 255

// serveRogueTalk serves the streams that the rogue opens.
func (in *incarnation) serveRogueTalk(ctx context.Context, payload []byte, s *core.RawStream) error {
	peer := core.PeerFromContext(ctx)
	in.enter(peer, false)
	defer in.leave(peer, false)
	defer in.carries(peer, len(payload))()
	var first byte
	if len(payload) > 0 {
		first = payload[0]
	}
	if first == rogueStops {
		<-ctx.Done()
		return ctx.Err()
	}
	if first%3 == 0 {
		// It sends for as long as it may, while nobody receives.
		for err := error(nil); err == nil; {
			err = s.Send(make([]byte, 1+int(first)*7))
		}
		return nil
	}
	var buf []byte
	for n := byte(0); n < first; n++ {
		var err error
		if buf, err = s.Recv(buf[:0]); err != nil {
			return err
		}
		if n%5 == 0 {
			time.Sleep(time.Millisecond)
		}
		if n%2 == 0 && s.Send(buf) != nil {
			return nil
		}
	}
	return nil
}
