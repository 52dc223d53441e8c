package fallback_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
)

// load is calls and streams of both nodes, without a pause, and what they came to.
type load struct {
	p    *pair
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	done   int
	errors []error
}

// begin starts calls of every kind in both directions. They go on until end.
func (p *pair) begin() *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{p: p, ctx: ctx, stop: cancel}
	jobs := []coretest.Job{
		{Request: 100, Response: 100},
		{Request: 200_000, Response: 100},
		{Request: 100, Response: 300_000},
		{Mode: coretest.Slow, For: 35 * ms},
		{Mode: coretest.Slow, For: time.Second},
	}
	for i := range p.nodes {
		for k, job := range jobs {
			h := []core.HandlerID{coretest.LedgerHandle, coretest.LedgerAppend}[k%2]
			l.repeat(ctx, time.Duration(5*k+5)*ms, func() error {
				return p.ledger.Call(context.Background(), p.conn(i), p.name(i), h, job)
			})
		}
		for k := range 3 {
			l.repeat(ctx, time.Duration(5*k+7)*ms, func() error { return talk(p.conn(i), k*20_000) })
		}
	}
	return l
}

func (l *load) repeat(ctx context.Context, pause time.Duration, f func() error) {
	l.wg.Go(func() {
		for ctx.Err() == nil {
			err := f()
			l.mu.Lock()
			if err == nil {
				l.done++
			} else {
				l.errors = append(l.errors, err)
			}
			l.mu.Unlock()
			time.Sleep(pause)
		}
	})
}

// talk has a conversation on a stream.
func talk(c *core.Connection, size int) error {
	first := bytes.Repeat([]byte("p"), size)
	st, err := c.OpenStream(context.Background(), "stream.echo", first)
	if err != nil {
		return err
	}
	defer st.Close()
	msg := first
	for i := range 5 {
		got, err := st.Recv(nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, msg) {
			return fmt.Errorf("message %d came back as %d bytes, want %d", i, len(got), len(msg))
		}
		msg = bytes.Repeat([]byte{byte(i)}, size+i)
		if err := st.Send(msg); err != nil {
			return err
		}
	}
	if err := st.CloseSend(); err != nil {
		return err
	}
	for {
		if _, err := st.Recv(nil); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// end stops the load and returns how much succeeded, and all errors.
func (l *load) end() (done int, errs []error) {
	l.stop()
	l.wg.Wait()
	return l.done, l.errors
}

// wantNoFailure stops the load, of which nothing may have failed.
func (l *load) wantNoFailure(when string) {
	l.p.t.Helper()
	done, errs := l.end()
	if len(errs) > 0 {
		l.p.t.Errorf("%s: %d calls failed, the first one with: %v", when, len(errs), errs[0])
	}
	if done < 100 {
		l.p.t.Errorf("%s: only %d calls were made, which proves nothing", when, done)
	}
}
