package core

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// requestPacker says how what the caller sends is compressed: as the options of the
// call have it, else as the handler's node wants it.
func (s *session) requestPacker(key handlerKey, hash uint64, set *callSettings) (p packer) {
	with, threshold := set.compress[toHandler], set.threshold
	if with == nil {
		wishes := s.root.wishes.Load()
		if wishes == nil {
			return p
		}
		w, ok := (*wishes)[hash]
		if !ok {
			return p
		}
		if with = w.with; threshold == 0 {
			threshold = w.threshold
		}
		p.window = w.window
	}
	if with == notCompressed || s.peer == s.m.local {
		return p
	}
	return packer{with: with, threshold: threshold, flow: s.m.flows.of(key, hash, toHandler), window: p.window || set.window}
}

// accepts is what a call says of the compression of what comes back. A Compressor
// that this node has from the options of the call is announced first.
func (s *session) accepts(set *callSettings) (a wire.Accept) {
	with := set.compress[fromHandler]
	peer := s.root.peerCodecs.Load()
	if with == nil || peer == nil || s.peer == s.m.local {
		return a // the peer compresses nothing anyway
	}
	if with == notCompressed {
		return wire.Accept{Said: true}
	}
	_ = s.m.codecs.add(with) // if there are too many it cannot be asked for
	n := s.m.codecs.set.Load().number(with.name)
	if n == 0 || peer.number(with.name) == 0 {
		return a
	}
	s.root.tellCodecs()
	return wire.Accept{Said: true, Codec: n}
}

// responsePacker says how what the handler sends is compressed: as its caller asks,
// unless the handler must not, else as the handler was registered.
func (s *session) responsePacker(h *handler, asked wire.Accept) *compressor {
	with := h.compress[fromHandler]
	if s.peer == s.m.local || with == notCompressed || asked.Said && asked.Codec == 0 {
		return nil
	}
	name := strings.TrimSuffix(s.root.peerCodecs.Load().name(asked.Codec), windowSuffix)
	if name != "" && (with == nil || with.name != name) {
		set := s.m.codecs.set.Load()
		if n := set.number(name); n != 0 {
			with = set.names[n-1]
		}
	}
	return with
}

// isAhead reports whether a wish is for a codec that the peer has not announced yet: on a
// lane it may overtake the CODECS that does (W92).
func (s *session) isAhead(asked wire.Accept) bool {
	return asked.Codec != 0 && s.root.peerCodecs.Load().name(asked.Codec) == ""
}

// packerOf returns what compresses the messages of a handler.
func (m *Manager) packerOf(h *handler, with *compressor) packer {
	return packer{with: with, threshold: h.threshold, flow: m.flowOf(h, fromHandler), window: h.window}
}

// flowOf finds the flow of a handler of this node.
func (m *Manager) flowOf(h *handler, dir int) *flow {
	f := h.flows.Load()
	if f == nil {
		key := handlerKey{h.id, h.route}
		f = m.flows.both(key, key.hash())
		h.flows.Store(f)
	}
	return &f.dirs[dir]
}

// packedAnswer is a compressed response that is whole, for its caller to restore.
type packedAnswer struct {
	packed
	buf *buffer // nil: there is none
}

// unpackAnswer restores the response of a call that is complete, on the goroutine of
// its caller, and gives back what it holds.
func (s *session) unpackAnswer(ctx context.Context, sl *slot, key handlerKey, hash uint64, dst []byte, timeout int64) result {
	a := &sl.answer
	resp, err := s.m.unpack(dst, a.buf.b, a.packed, s.m.flows.of(key, hash, fromHandler), patience{over: ctx.Done, deadline: timeout})
	s.freeAnswer(sl)
	if over := s.whyOver(ctx, timeout); over != nil && errors.Is(err, errNotWanted) {
		return result{outcome: OutcomeMaybeRun, err: over}
	}
	if err != nil {
		return result{outcome: OutcomeMaybeRun, err: fmt.Errorf("the handler has answered, but: %w", err)}
	}
	return result{resp: resp, outcome: sl.outcome}
}

func (s *session) freeAnswer(sl *slot) {
	a := sl.answer
	sl.answer = packedAnswer{}
	a.buf.put()
	switch {
	case sl.partial != nil: // nobody else looks at that of a claimed call
		s.freePartial(sl)
	case a.size() > maxSmall:
		s.peer.memory[kindResponse].release(int64(a.size()))
	}
}

// malformedMessage is the error of who gets a message that cannot be restored.
func malformedMessage(err error) error {
	return fmt.Errorf("%w: a compressed message cannot be restored: %w", ErrMalformedMessage, err)
}

// unpackRequest restores the message that the call begins with, or returns with what
// the call is to be declined.
func (c *inCall) unpackRequest() *failedAnswer {
	m := c.s.m
	req, buf, err := m.unpackOwn(c.req, c.how, m.flowOf(c.h, toHandler), patience{over: c.ctx.Done})
	switch {
	case errors.Is(err, errNotWanted):
		return endedAnswer(c.ctx.Err())
	case err != nil:
		return refusedAnswer(err)
	}
	old := c.buf
	c.req, c.buf, c.how = req, buf, packed{}
	if old != nil {
		old.put()
	}
	return nil
}

// decline answers a call whose handler does not run. It must not be used after that.
func (c *inCall) decline(failed *failedAnswer) {
	if c.stream != nil {
		c.answerStream(failed)
		return
	}
	c.ctx.finish()
	c.respond(nil, failed, false)
	c.release()
}

// packs reports whether what the handler sends may have to be compressed.
func (c *inCall) packs() bool { return c.h.compress[fromHandler] != nil || c.accept.Said }

// packResult compresses a result, which then stands in the call's own memory.
func (c *inCall) packResult(result []byte) []byte {
	if len(result) == 0 {
		return result
	}
	with := c.s.responsePacker(c.h, c.accept)
	if with == nil {
		return result
	}
	p := c.s.m.packerOf(c.h, with)
	// Its context is over, whether somebody waits for the answer or not.
	over := func() <-chan struct{} { return c.s.done }
	buf, how := c.s.pack(&p, result, patience{over: over, gone: c.abandoned})
	if buf == nil {
		return result
	}
	if c.out != nil {
		c.out.put()
	}
	c.out, c.how = buf, how
	return buf.b
}

// packElsewhere hands the result of an inline handler to a worker: a Compressor may
// make the reader wait for its turn. It reports false if it need not be.
func (c *inCall) packElsewhere(result []byte) bool {
	if !c.packs() {
		return false
	}
	with := c.s.responsePacker(c.h, c.accept)
	if with == nil || len(result) < with.least(c.h.threshold) {
		return false
	}
	c.req, c.ran = c.keep(result), true
	c.s.m.pool.submit([]*inCall{c})
	return true
}

// sendPacked sends a message of a stream, compressed if it is worth it.
func (st *RawStream) sendPacked(msg []byte) error {
	if len(msg) > maxSmall && st.isOver() {
		return st.sendAs(msg, packed{}) // which says why
	}
	p := *st.pack
	if p.ahead.Said {
		if p.with = st.s.responsePacker(st.ctx.h, p.ahead); p.with == nil {
			return st.sendAs(msg, packed{})
		}
	}
	if sh := st.shared.Load(); sh != nil && sh.sends {
		if done, err := st.sendShared(&sh.send, msg); done {
			return err
		}
	}
	buf, how := st.s.pack(&p, msg, patience{over: st.Done})
	if buf == nil {
		return st.sendAs(msg, packed{})
	}
	err := st.sendAs(buf.b, how)
	buf.put()
	return err
}

// inFlow counts what arrives for this end of the stream.
func (st *RawStream) inFlow() *flow {
	if st.serving() {
		return st.s.m.flowOf(st.ctx.h, toHandler)
	}
	return st.s.m.flows.of(st.key, st.hash, fromHandler)
}

// taking is the patience of who receives.
func (st *RawStream) taking() patience { return patience{over: st.whenDropped} }

// broken ends the stream because of a message that cannot be restored, and returns
// the error for who receives.
func (st *RawStream) broken(err error) error {
	if st.dropped.Load() && (errors.Is(err, errWindowGone) || errors.Is(err, errManyWindows) || errors.Is(err, errNotWanted)) {
		return st.whyGone()
	}
	st.abort(err)
	return st.callError(err)
}
