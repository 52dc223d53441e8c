package core

import (
	"context"
	"fmt"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// errTimeout is the end of a call by its own time-out option.
var errTimeout = fmt.Errorf("%w (time-out of the call)", context.DeadlineExceeded)

// errOverdue is the end of a call by the deadline of its context, which has not ended.
var errOverdue = fmt.Errorf("%w (its context has a deadline that is over, and has not ended)", context.DeadlineExceeded)

// result is what became of a call.
type result struct {
	resp    []byte
	outcome Outcome
	err     error
}

func notSent(err error) result { return result{outcome: OutcomeNotSent, err: err} }

// roundTrip makes one call over the session: it queues the request and waits
// for the answer, for ctx, for the time-out or for the end of the session,
// whichever comes first.
func (s *session) roundTrip(
	ctx context.Context, key handlerKey, handler uint64, req, dst []byte, timeout int64, set callSettings,
) result {
	if len(req) > s.maxSend {
		return notSent(s.payloadTooLarge(len(req)))
	}
	r := outRequest{handler: handler, payload: req, deadline: timeout, prio: set.prio, meta: set.meta.bytes()}
	if d, ok := ctx.Deadline(); ok {
		if at := s.m.at(d); timeout == 0 || at < timeout {
			r.deadline = at
		}
	}
	if set.compress[fromHandler] != nil {
		r.accept = s.accepts(&set)
	}
	if set.compress[toHandler] != nil || s.wishes.Load() != nil {
		if p := s.requestPacker(key, handler, &set); p.with != nil {
			if r.own, r.packed = s.pack(&p, req, patience{over: ctx.Done, deadline: timeout}); r.own != nil {
				r.payload = r.own.b
			}
			if err := s.whyOver(ctx, timeout); err != nil { // meanwhile
				if r.own != nil {
					r.own.put()
				}
				return notSent(err)
			}
		}
	}
	if len(req) > laneFrom || set.prio == PriorityLow {
		s = s.takeLane() // in which the answer, too, holds up nobody
	}
	res := s.make(ctx, key, dst, timeout, &r)
	if r.own != nil {
		r.own.put()
	}
	return res
}

// whyOver is why a call is over that nothing else has ended, nil if it is not.
func (s *session) whyOver(ctx context.Context, timeout int64) error {
	if ctx.Err() != nil {
		_, err := contextEnd(ctx)
		return err
	}
	if timeout != 0 && s.m.now() >= timeout {
		return errTimeout
	}
	return nil
}

// make makes a call whose request is as it is sent.
func (s *session) make(ctx context.Context, key handlerKey, dst []byte, timeout int64, r *outRequest) result {
	s.busy.Add(1)
	if err := s.refuseCall(ctx); err != nil {
		s.release()
		return notSent(err)
	}
	sl, err := s.calls.get(dst, timeout, nil)
	if err != nil {
		s.release()
		return notSent(s.tableError(err))
	}
	if key.id == catalogueID {
		s.calls.expectCatalogue(sl)
	}
	if timeout != 0 {
		s.watch(timeout)
	}
	s.send(ctx, sl, r)
	if r.own != nil && sl.bulk == nil {
		// It was copied. The next message to be compressed finds it in the
		// processor's caches, where one that waits for the answer is long cold.
		r.own.put()
		r.own = nil
	}
	s.await(ctx, sl)
	if sl.bulk != nil {
		// Whatever completed the call, its memory is the caller's again.
		s.w.dropLarge(sl)
	}
	res := result{sl.resp, sl.outcome, sl.err}
	if sl.answer.buf != nil {
		res = s.unpackAnswer(ctx, sl, key, r.handler, dst, timeout)
	}
	s.calls.put(sl)
	s.release()
	return res
}

// refuseCall is why no call begins. It is asked when busy was counted: who ends a
// session that is at rest looks at busy after it has begun to drain, so one of the
// two sees the other.
func (s *session) refuseCall(ctx context.Context) error {
	if err := s.m.refuseCall(ctx); err != nil {
		return err
	}
	if s.goaway.Load() || s.root.goaway.Load() || s.root.leaving.Load() {
		return errNoNewCalls
	}
	return nil
}

func (s *session) tableError(err error) error {
	if err == ErrOverloaded { //nolint:errorlint // The table returns it as it is.
		return fmt.Errorf("%w: %d calls to %q are in progress, the limit of Config.MaxCalls on either node",
			err, s.calls.limit, s.peer.name)
	}
	return err
}

// send queues the request, waiting for room while output is over its limit. It
// returns when the request is queued or the call is over.
func (s *session) send(ctx context.Context, sl *slot, r *outRequest) {
	var p *place
	for {
		var how queued
		switch how, p = s.w.appendRequest(sl, s.side, r, p); how {
		case queuedFull:
		case queuedShut:
			if s.calls.claim(sl) {
				s.abandon(sl, s.whyShut(), wire.CodeCanceled)
			}
			return
		case queuedYes, queuedOver:
			return
		}
		select {
		case <-p.wake:
		case <-ctx.Done():
			s.w.leave(p)
			return
		case <-sl.token:
			s.w.leave(p)
			// Claimed while waiting: hand the token back for await.
			sl.token <- struct{}{}
			return
		}
	}
}

// await waits until the call is complete.
func (s *session) await(ctx context.Context, sl *slot) {
	done := ctx.Done()
	if done == nil {
		<-sl.token
		return
	}
	select {
	case <-sl.token:
		return
	case <-done:
	}
	if s.calls.claim(sl) {
		code, err := contextEnd(ctx)
		s.abandon(sl, err, code)
	}
	// Whoever claimed the call is about to complete it; none of them waits for
	// anything.
	<-sl.token
}

// contextEnd returns why ctx ended, and the code that tells the peer.
func contextEnd(ctx context.Context) (code wire.Code, err error) {
	code, err = wire.CodeCanceled, ctx.Err()
	if err == context.DeadlineExceeded { //nolint:errorlint // Err returns one of two values.
		code = wire.CodeDeadline
	}
	if cause := context.Cause(ctx); cause != nil && cause != err { //nolint:errorlint // Identity is meant.
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return code, err
}

// complete finishes a claimed call with an answer.
func (s *session) complete(sl *slot, outcome Outcome, err error) {
	sl.outcome, sl.err = outcome, err
	sl.token <- struct{}{}
}

// release ends the accounting of a call, after its last frame was queued.
func (s *session) release() {
	if s.busy.Add(-1) != 0 {
		return
	}
	if s.lane.own {
		s.root.laneAtRest(s)
	}
	if s.m.draining.Load() || s.root.leaving.Load() {
		s.signalRest()
	}
}

// onResponse completes the call that a RESPONSE answers, or begins to put the
// message together.
func (s *session) onResponse(f *wire.Frame) error {
	r, err := wire.ParseResponse(f)
	if err != nil {
		return err
	}
	if f.Flags&wire.FlagFragmented != 0 {
		return s.beginResponse(f, &r)
	}
	sl, incomplete := s.calls.takeWhole(f.ID)
	switch {
	case incomplete:
		return secondAnswer(f.ID)
	case sl == nil:
	case sl.stream != nil && (r.Payload != nil || sl.stream.isIncomplete()):
		// The session ends, and the peer is told nothing else.
		s.endStream(sl, s.peer.callError(sl.stream.key, result{outcome: OutcomeMaybeRun, err: errStreamAnswer}))
		return fmt.Errorf("%w: call %v", errStreamAnswer, f.ID)
	case sl.stream != nil:
		s.answerStream(sl, OutcomeRemote, nil)
	case r.Decoded > s.maxResponse(sl.catalogue):
		s.declineResponse(sl, r.Decoded, s.tooLarge())
	case f.Codec != 0:
		s.deliverPacked(sl, packedOf(f, r.Decoded), r.Payload)
	default:
		s.deliver(sl, r.Payload)
	}
	return nil
}

func secondAnswer(id wire.CallID) error {
	return fmt.Errorf("%w: a second answer to call %v", wire.ErrMalformed, id)
}

// deliver completes a claimed call with a copy of a response in one frame.
func (s *session) deliver(sl *slot, payload []byte) {
	switch {
	case payload == nil:
		sl.resp = sl.dst
	case sl.dst == nil && len(payload) == 0:
		sl.resp = []byte{}
	default:
		sl.resp = append(sl.dst, payload...) //nolint:gocritic // The answer is what the caller gets; dst stays as it was.
	}
	s.complete(sl, OutcomeMaybeRun, nil)
}

// deliverPacked completes a claimed call with a copy of a compressed response in one
// frame, which its caller restores: what takes time is not for the reader.
func (s *session) deliverPacked(sl *slot, how packed, payload []byte) {
	a := packedAnswer{packed: how}
	if how.size() > maxSmall {
		// We would have sent it in parts. It counts all the same.
		if err := s.peer.memory[kindResponse].try(how.size()); err != nil {
			s.declineResponse(sl, uint64(how.size()), err)
			return
		}
	}
	a.buf = getBuffer(len(payload))
	a.buf.b = append(a.buf.b, payload...)
	sl.answer = a
	s.complete(sl, OutcomeMaybeRun, nil)
}

var errStreamAnswer = fmt.Errorf("%w: RESPONSE to a stream with a payload, or in the middle of a message", wire.ErrMalformed)

// beginResponse makes room for a response in parts.
func (s *session) beginResponse(f *wire.Frame, r *wire.Response) error {
	id := f.ID
	sl, pending := s.calls.peek(id)
	switch {
	case !pending:
		return nil
	case sl.stream != nil:
		return errStreamAnswer
	case sl.partial != nil:
		return secondAnswer(id)
	}
	if r.Decoded > s.maxResponse(sl.catalogue) {
		if sl := s.calls.take(id); sl != nil {
			s.declineResponse(sl, r.Decoded, s.tooLarge())
		}
		return nil
	}
	// While the call is pending its dst is the reader's to write to, under the
	// lock of the message.
	a := assembleInto(s, id, int(r.Size), sl.dst, packedOf(f, r.Decoded))
	if !s.calls.setPartial(id, a) {
		return nil
	}
	if err := s.begin(a); err != nil {
		return err
	}
	return s.onResponsePart(id, r.Payload)
}

// maxResponse is how large the response to a call may be.
func (s *session) maxResponse(catalogue bool) uint64 {
	if catalogue {
		return uint64(max(s.m.cfg.MaxMessage, maxCatalogueSize))
	}
	return uint64(s.m.cfg.MaxMessage)
}

// declineResponse ends a claimed call whose response is over a limit (W29).
func (s *session) declineResponse(sl *slot, size uint64, err error) {
	s.abandon(sl, fmt.Errorf("response of %d bytes: %w", size, err), wire.CodeCanceled)
}

// onResponsePart adds a part to a response, or to a message of a stream. Parts of
// calls that are over are dropped.
func (s *session) onResponsePart(id wire.CallID, part []byte) error {
	sl, pending := s.calls.peek(id)
	a := sl.partial
	switch {
	case !pending:
		return nil
	case sl.stream != nil:
		return sl.stream.deliverPart(part)
	case a == nil:
		return fmt.Errorf("%w: FRAGMENT without a message on call %v", wire.ErrMalformed, id)
	}
	if whole, err := a.add(part); !whole {
		return err
	}
	if a.whenGranted(func(bool) { s.completeResponse(id, a) }) == fateGranted {
		s.completeResponse(id, a)
	}
	return nil
}

// completeResponse completes a call with a response that is whole.
func (s *session) completeResponse(id wire.CallID, a *assembly) {
	if sl := s.calls.take(id); sl != nil {
		if a.how.codec != 0 {
			// What is reserved covers what it becomes, so the caller gives it back.
			sl.answer = packedAnswer{packed: a.how, buf: a.mem}
			s.complete(sl, OutcomeMaybeRun, nil)
			return
		}
		sl.resp = a.mem.b
		s.freePartial(sl)
		s.complete(sl, OutcomeMaybeRun, nil)
	}
}

// freePartial gives back the memory of a claimed call's response in parts.
func (s *session) freePartial(sl *slot) {
	if a := s.calls.takePartial(sl); a != nil {
		a.letGo()
		a.drop()
	}
}

// tooLarge is why a message that arrives is not taken.
func (s *session) tooLarge() error {
	return fmt.Errorf("%w: limit %d; raise Config.MaxMessage on both nodes", ErrMessageTooLarge, s.m.cfg.MaxMessage)
}

// onStatus completes the call that an ERROR or REFUSED answers.
func (s *session) onStatus(f *wire.Frame) error {
	st, err := wire.ParseStatus(f)
	if err != nil {
		return err
	}
	sl, incomplete := s.calls.takeWhole(f.ID)
	if incomplete {
		return secondAnswer(f.ID)
	}
	if sl == nil {
		return nil
	}
	outcome, err := OutcomeRefused, refusedError(st)
	if f.Type == wire.TypeError {
		outcome, err = answerError(st)
	}
	if sl.stream != nil {
		s.answerStream(sl, outcome, err)
		return nil
	}
	s.complete(sl, outcome, err)
	return nil
}
