package coretest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
)

// The handlers that [Ledger.Register] registers. They do the same in the three
// forms that a handler can have.
const (
	LedgerHandle core.HandlerID = "coretest.ledger"        // by Manager.Handle
	LedgerAppend core.HandlerID = "coretest.ledger.append" // by Manager.HandleAppend
	LedgerInline core.HandlerID = "coretest.ledger.inline" // by Manager.HandleAppend, inline: not for Slow and Block
)

// Mode is what a handler of the ledger does with a call.
type Mode uint8

const (
	// Echo answers at once.
	Echo Mode = iota
	// Slow answers after Job.For, whatever becomes of its context.
	Slow
	// Block waits for the end of its context and returns its error.
	Block
	// Fail returns a core.RemoteError with [LedgerCode].
	Fail
	// Panic panics.
	Panic
)

// LedgerCode is the code of the error that a handler in mode [Fail] returns.
const LedgerCode core.Code = 1414

// Job is what a call is to do. Sizes below what the ledger needs for its own
// purposes, about 50 bytes, are raised to that.
type Job struct {
	Mode     Mode
	For      time.Duration // of Slow
	Request  int           // size in bytes
	Response int           // size in bytes
}

// Ledger keeps account of calls from outside of the system under test. Make it
// with [NewLedger]; all methods may be called concurrently.
type Ledger struct {
	mu      sync.Mutex
	calls   []*Call           // by id, which counts from 1
	seqs    map[string]uint64 // by caller
	lies    []string          // contradictions that were seen at once
	running int
	idle    chan struct{} // closed when no handler runs; nil: nobody waits
}

// Call is one call in the books of a [Ledger].
type Call struct {
	l       *Ledger
	id, seq uint64
	caller  string
	job     Job

	// Guarded by l.mu.
	started  int
	returned int
	outcome  core.Outcome
	err      error
}

// NewLedger opens the books.
func NewLedger() *Ledger { return &Ledger{seqs: make(map[string]uint64)} }

// Register registers the handlers of the ledger with a Manager.
func (l *Ledger) Register(m *core.Manager) error {
	handle := func(ctx context.Context, req []byte) ([]byte, error) { return l.Serve(ctx, req, nil) }
	return errors.Join(
		m.Handle(LedgerHandle, handle),
		m.HandleAppend(LedgerAppend, l.Serve),
		m.HandleAppend(LedgerInline, l.Serve, core.WithInline()),
	)
}

// Call makes a call on behalf of a caller, of at most 255 bytes, and keeps
// account of it. It returns what the system returned.
func (l *Ledger) Call(ctx context.Context, on core.Caller, caller string, h core.HandlerID, job Job, opts ...core.CallOption) error {
	c := l.Begin(caller, job)
	resp, err := on.Request(ctx, h, c.Payload(), opts...)
	c.Return(resp, err)
	return err
}

// Begin enters a call that is made by other means than [Ledger.Call]: its
// payload goes to a handler that calls [Ledger.Serve], and what came back to
// Return.
func (l *Ledger) Begin(caller string, job Job) *Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs[caller]++
	c := &Call{l: l, id: uint64(len(l.calls) + 1), seq: l.seqs[caller], caller: caller, job: job}
	l.calls = append(l.calls, c)
	return c
}

// Payload returns the request that identifies the call.
func (c *Call) Payload() []byte {
	r := request{id: c.id, seq: c.seq, job: c.job, response: c.job.Response, caller: c.caller}
	return appendRequest(nil, &r, c.job.Request)
}

// Return enters what the caller was told.
func (c *Call) Return(resp []byte, err error) {
	lie := c.judge(resp, err)
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.returned++
	c.outcome, c.err = core.OutcomeOf(err), err
	if lie != "" {
		c.l.lies = append(c.l.lies, fmt.Sprintf("%v: %s", c, lie))
	}
}

// CallOf returns the call that a request belongs to by its own account, nil if
// there is none. It is for handlers that do more than [Ledger.Serve], which
// alone verifies the request.
func (l *Ledger) CallOf(req []byte) *Call {
	id, ok := requestID(req)
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok || id == 0 || id > uint64(len(l.calls)) {
		return nil
	}
	return l.calls[id-1]
}

// judge looks at an answer by itself.
func (c *Call) judge(resp []byte, err error) (lie string) {
	remote, ok := errors.AsType[*core.RemoteError](err)
	switch {
	case err == nil && c.job.Mode >= Block:
		return "I4: it returned a response; its handler gives none"
	case err == nil:
		if problem := checkResponse(resp, c, c.job.Response); problem != nil {
			return fmt.Sprintf("I4: its response is wrong: %v", problem)
		}
	case !ok:
	case remote.Code == core.CodePanic && c.job.Mode != Panic:
		return "I4: it returned a panic; its handler does not panic"
	case remote.Code == LedgerCode:
		if problem := checkResponse(remote.Detail, c, 0); problem != nil {
			return fmt.Sprintf("I4: its error is not its own: %v", problem)
		}
	}
	return ""
}

// Serve is the handler of the ledger: it verifies the request, enters that the
// handler was started and has finished, and does what the request asks for. The
// response is appended to dst.
func (l *Ledger) Serve(ctx context.Context, req, dst []byte) ([]byte, error) {
	r, err := parseRequest(req)
	if err == nil {
		err = l.start(&r)
	}
	if err != nil {
		l.lief("I4: a request that arrived is wrong: %v", err)
		return nil, fmt.Errorf("wrong request: %w", err)
	}
	defer l.finish()
	switch r.job.Mode {
	case Slow:
		if r.job.For > 0 {
			<-time.After(r.job.For)
		}
	case Block:
		<-ctx.Done()
		return nil, ctx.Err()
	case Fail:
		r.response = 0
		return nil, &core.RemoteError{
			Code:    LedgerCode,
			Message: fmt.Sprintf("call %d fails as asked", r.id),
			Detail:  appendResponse(nil, &r),
		}
	case Panic:
		panic(fmt.Sprintf("call %d panics as asked", r.id)) //nolint:forbidigo // It is what the mode is for.
	case Echo:
	}
	// The request must have stayed as it was for as long as the handler ran.
	if again, err := parseRequest(req); err != nil || again != r {
		l.lief("I4: the request of call %d changed while its handler ran: %v", r.id, err)
	}
	return appendResponse(dst, &r), nil
}

func (l *Ledger) lief(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lies = append(l.lies, fmt.Sprintf(format, args...))
}

func (l *Ledger) start(r *request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.id == 0 || r.id > uint64(len(l.calls)) {
		return fmt.Errorf("call %d was never made", r.id)
	}
	c := l.calls[r.id-1]
	if c.seq != r.seq || c.caller != r.caller || c.job.Mode != r.job.Mode {
		return fmt.Errorf("call %d is number %d of %q, the request says number %d of %q", r.id, c.seq, c.caller, r.seq, r.caller)
	}
	c.started++
	l.running++
	return nil
}

func (l *Ledger) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	if l.running == 0 && l.idle != nil {
		close(l.idle)
		l.idle = nil
	}
}

// WaitIdle waits until none of the ledger's handlers runs.
func (l *Ledger) WaitIdle(ctx context.Context) error {
	l.mu.Lock()
	n := l.running
	if n > 0 && l.idle == nil {
		l.idle = make(chan struct{})
	}
	idle := l.idle
	l.mu.Unlock()
	if n == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("coretest: %d handlers of the ledger still run: %w", n, ctx.Err())
	}
}

func (c *Call) String() string {
	return fmt.Sprintf("call %d (number %d of %s)", c.id, c.seq, c.caller)
}
