package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// onRequest starts a call, or refuses it.
func (s *session) onRequest(f *wire.Frame) error {
	r, err := wire.ParseRequest(f)
	if err != nil {
		return err
	}
	return s.onCall(f, &r, 0)
}

// onCall starts a call, or refuses it. capacity is 0 for a single request.
func (s *session) onCall(f *wire.Frame, r *wire.Request, capacity int) error {
	c := s.openCell(f.ID.Slot())
	switch {
	case f.ID.Side() == s.side:
		return wrongSide(f)
	case s.lane.own:
		return fmt.Errorf("%w: %v on a lane of ours", wire.ErrMalformed, f.Type)
	case c == nil:
		return fmt.Errorf("%w: %v on slot %d, %d are allowed", wire.ErrMalformed, f.Type, f.ID.Slot(), s.m.cfg.MaxCalls)
	case f.ID.Generation() <= c.generation:
		return fmt.Errorf("%w: %v with call id %v, generation %d was used already", wire.ErrMalformed, f.Type, f.ID, c.generation)
	}
	// A caller that has the answer, or sent RESET, leaves nothing to end here.
	// With any other the end of the session would no longer find the call.
	s.giveUp(c, context.Canceled)
	c.generation = f.ID.Generation()
	h, err := s.admit(f, r)
	if err == nil && r.Decoded > uint64(s.m.cfg.MaxMessage) {
		err = fmt.Errorf("%w: %d bytes, limit %d", ErrMessageTooLarge, r.Decoded, s.m.cfg.MaxMessage)
	}
	if err != nil {
		s.refuse(f.ID, err)
		return nil
	}
	start := callStart{h: h, prio: priorityOf(f.Flags), capacity: capacity, accept: r.Accept}
	start.how = packedOf(f, r.Decoded)
	if r.Timeout != 0 {
		start.deadline = addClock(s.clock(), wire.Duration(r.Timeout))
	}
	if start.meta, err = receiveMetadata(r.Metadata); err != nil {
		s.refuse(f.ID, err)
		return nil
	}
	if f.Flags&wire.FlagFragmented != 0 {
		a := &assembly{
			s: s, id: f.ID, budget: &s.peer.memory[kindRequest], size: int(r.Size), how: start.how,
			cell: c, start: new(start),
		}
		a.least = a.leastOfRequest(len(r.Metadata))
		// Before it can be refused.
		c.partial.Store(a)
		s.busy.Add(1)
		if err := s.begin(a); err != nil {
			return err
		}
		return s.onRequestPart(f.ID, r.Payload)
	}
	if r.Decoded > maxSmall {
		// We would have cut it. It counts all the same.
		if err := s.peer.memory[kindRequest].try(int(r.Decoded)); err != nil {
			s.refuse(f.ID, err)
			return nil
		}
		s.accept(f.ID, c, start, slices.Clone(r.Payload), true)
		return nil
	}
	s.accept(f.ID, c, start, r.Payload, false)
	return nil
}

// admit finds the handler of a request, or why there is none.
func (s *session) admit(f *wire.Frame, r *wire.Request) (*handler, error) {
	switch h := s.m.handlers.byHash[r.Handler]; {
	// What comes from this node itself is from a handler that still runs: others
	// were refused where they called.
	case s.m.draining.Load() && s.peer != s.m.local:
		return nil, fmt.Errorf("%w: the node is shutting down", ErrDraining)
	case s.root.fence.Load() != 0 && (!s.root.serves.Load() || s.pastFence()):
		return nil, fmt.Errorf("%w: the node has left this connection", ErrDraining)
	case r.Timeout != 0 && s.root.alive.stale(s.clock(), wire.Duration(r.Timeout)):
		return nil, fmt.Errorf("%w: the node did not run for a while, and the time of the call may be over", ErrOverloaded)
	case f.Codec != 0 && !s.m.decodes(f.Codec, f.Dict):
		return nil, errUnsupported
	case h == nil:
		return nil, ErrUnknownHandler
	case f.Type == wire.TypeOpen && h.stream == nil:
		return nil, fmt.Errorf("%w: it serves single requests: use Request", ErrUnknownHandler)
	case f.Type == wire.TypeRequest && h.stream != nil:
		return nil, fmt.Errorf("%w: it serves streams: use OpenStream or NewStream", ErrUnknownHandler)
	default:
		return h, s.authorize(f.ID, h)
	}
}

var errUnsupported = errors.New("the codec was not agreed on")

// decodes reports whether the node has what a message is compressed with.
func (m *Manager) decodes(codec, dict uint8) bool {
	_, _, err := m.codecs.set.Load().decoder(codec, dict)
	return err == nil
}

// refuse answers a call whose handler will not run.
func (s *session) refuse(id wire.CallID, err error) {
	s.in.refused.Add(1)
	s.w.answer(wire.TypeRefused, id, refusedStatus(err))
}

// trimSentinel returns the text of err without that of the sentinel it begins
// with, which the other side puts back.
func trimSentinel(err, sentinel error) string {
	text, prefix := err.Error(), sentinel.Error()
	if text == prefix {
		return ""
	}
	if rest, ok := strings.CutPrefix(text, prefix+": "); ok {
		return rest
	}
	return text
}

// onRequestPart adds a part to a request, and starts the call with the last one,
// or to a message of a stream. Parts of calls that are over or were refused are
// dropped.
func (s *session) onRequestPart(id wire.CallID, part []byte) error {
	c := s.cellOf(id.Slot())
	if c == nil || c.generation != id.Generation() {
		return nil
	}
	a := c.partial.Load()
	if a == nil {
		if ctx := c.ctx.Load(); ctx != nil {
			if st := ctx.stream.Load(); st != nil {
				return st.deliverPart(part)
			}
		}
		return nil
	}
	s.peer.bulk.Add(uint64(len(part)))
	if whole, err := a.add(part); !whole {
		return err
	}
	c.partial.Store(nil)
	s.acceptWhole(id, c, a)
	return nil
}

// dropPartial forgets a request in parts, also one that is whole and waits for
// memory still.
func (s *session) dropPartial(c *cell) {
	if a := c.partial.Load(); a != nil {
		if !a.drop() {
			s.release()
		}
		c.partial.Store(nil)
	}
	if c.waiting != nil {
		c.waiting.turnAway()
		c.waiting = nil
	}
}

// accept takes a complete request: it runs its handler, hands it to a worker
// with the rest of the batch, or refuses it because a limit is reached. The
// payload is borrowed unless owned, which means that its size is reserved.
func (s *session) accept(id wire.CallID, c *cell, start callStart, payload []byte, owned bool) {
	call, err := s.newCall(id, c, start)
	if err != nil {
		if owned {
			s.peer.memory[kindRequest].release(int64(start.how.weight(len(payload))))
		}
		s.refuse(id, err)
		return
	}
	call.req = payload
	switch {
	case owned:
		call.held = int32(start.how.weight(len(payload)))
	case start.h.inline && start.how.codec == 0 && !s.w.full():
		s.runInline(call)
		return
	case payload != nil:
		call.buf = getBuffer(len(payload))
		call.buf.b = append(call.buf.b, payload...)
		call.req = call.buf.b
	}
	s.in.jobs = append(s.in.jobs, call)
}

// acceptWhole takes a request that came in parts, which waits for its memory if
// that is not reserved yet.
func (s *session) acceptWhole(id wire.CallID, c *cell, a *assembly) {
	call, err := s.newCall(id, c, *a.start)
	if err != nil {
		if !a.drop() {
			s.release()
			s.refuse(id, err)
		}
		return
	}
	call.req, call.buf, call.held = a.mem.b, a.mem, int32(a.weight())
	whole := a.whenGranted(func(ok bool) {
		a.letGo()
		if ok {
			s.m.pool.submit([]*inCall{call})
		} else {
			call.held = 0
			call.ctx.finish()
			call.release()
		}
	})
	switch whole {
	case fateGranted:
		s.in.jobs = append(s.in.jobs, call)
	case fateDropped:
		call.held = 0
		call.release()
		return // it was refused, and counts no more
	case fateWaits:
		c.waiting = a
	}
	s.release()
}

// newCall begins a call whose message is complete.
func (s *session) newCall(id wire.CallID, c *cell, start callStart) (*inCall, error) {
	if err := s.admitOne(start.h); err != nil {
		return nil, err
	}
	call := inCalls.Get().(*inCall)
	*call = inCall{s: s, h: start.h, id: id, cell: c, ctx: s.newContext(start.h, start.deadline), prio: start.prio}
	call.how, call.accept = start.how, start.accept
	call.ctx.meta = start.meta
	if start.capacity > 0 {
		if err := s.serveStream(call, start.capacity); err != nil {
			s.leaveOne(start.h)
			return nil, err
		}
	}
	c.ctx.Store(call.ctx)
	s.busy.Add(1)
	if s.ending.Load() {
		call.ctx.end(context.Canceled, errManagerDone)
		if call.stream != nil {
			call.stream.lose(ErrDisconnected)
		}
	}
	return call, nil
}

// admitOne takes a place for one more handler, in every limit that counts it.
func (s *session) admitOne(h *handler) error {
	if n := s.peer.handlers.Add(1); int(n) > s.m.cfg.MaxHandlers {
		s.peer.handlers.Add(-1)
		return fmt.Errorf("%w: %d handlers run for %q, the limit of Config.MaxHandlers on %q",
			ErrOverloaded, n-1, s.peer.name, s.m.cfg.Local.Name)
	}
	if n := s.m.handlersRunning.Add(1); int(n) > s.m.cfg.MaxHandlersTotal {
		s.m.handlersRunning.Add(-1)
		s.peer.handlers.Add(-1)
		return fmt.Errorf("%w: %d handlers run on %q, the limit of its Config.MaxHandlersTotal", ErrOverloaded, n-1, s.m.cfg.Local.Name)
	}
	if n := h.running.Add(1); h.limit > 0 && n > h.limit {
		s.leaveOne(h)
		return fmt.Errorf("%w: %d instances of this handler run on %q, the limit of its WithConcurrency",
			ErrOverloaded, n-1, s.m.cfg.Local.Name)
	}
	return nil
}

func (s *session) leaveOne(h *handler) {
	h.running.Add(-1)
	s.m.handlersRunning.Add(-1)
	s.peer.handlers.Add(-1)
}

// newContext makes the context of a call. deadline is 0 if its caller has set none.
func (s *session) newContext(h *handler, deadline int64) *callContext {
	if s.in.slab == nil {
		s.in.slab = s.m.takeSlab()
	}
	ctx := s.in.slab.take()
	ctx.link, ctx.h, ctx.deadline = s.link, h, deadline
	if deadline == 0 && h.timeout > 0 {
		ctx.deadline = addClock(s.clock(), h.timeout)
	}
	return ctx
}

// clock is the time at which the batch was read that is under way.
func (s *session) clock() int64 {
	if s.in.now == 0 {
		s.in.now = s.m.now()
	}
	return s.in.now
}

// submit hands the calls of a batch to the workers, together.
func (s *session) submit() {
	s.in.now = 0
	if s.in.slab != nil {
		s.m.putSlab(s.in.slab)
		s.in.slab = nil
	}
	if len(s.in.jobs) > 0 {
		s.m.pool.submit(s.in.jobs)
		clear(s.in.jobs)
		s.in.jobs = s.in.jobs[:0]
	}
}

// onReset ends a call that its caller gave up.
func (s *session) onReset(f *wire.Frame) error {
	st, err := wire.ParseStatus(f)
	if err != nil {
		return err
	}
	if f.ID.Side() == s.side {
		return wrongSide(f)
	}
	c := s.cellOf(f.ID.Slot())
	if c == nil || c.generation < f.ID.Generation() {
		return nil
	}
	defer s.w.forgetCall(f.ID)
	if c.generation != f.ID.Generation() {
		return nil // its slot is used again: what it sent whole has waited for memory (W46)
	}
	why := context.Canceled
	if st.Code == wire.CodeDeadline {
		why = context.DeadlineExceeded
	}
	s.giveUp(c, why)
	return nil
}
