package sessions_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

var errBrokenPipe = errors.New("broken pipe")

// brittleTransport makes connections whose writes fail from a moment on, as
// those to a peer that has closed, while what it sent before can be read.
type brittleTransport struct {
	transport.Transport
	broken *atomic.Bool
}

func (b brittleTransport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := b.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return brittleConn{tc, b.broken}, nil
}

func (b brittleTransport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := b.Transport.Listen(ctx, addr)
	if err != nil {
		return nil, err
	}
	return brittleListener{ln, b.broken}, nil
}

type brittleListener struct {
	transport.Listener
	broken *atomic.Bool
}

func (b brittleListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := b.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return brittleConn{tc, b.broken}, nil
}

type brittleConn struct {
	transport.Conn
	broken *atomic.Bool
}

func (b brittleConn) WriteFrames(frames [][]byte) error {
	if b.broken.Load() {
		return errBrokenPipe
	}
	return b.Conn.WriteFrames(frames)
}

// TestAnswersBehindAFailedWrite has a write fail while answers are on their way
// to be read. They used to be lost with the session, and their calls in doubt
// (F1, F19).
func TestAnswersBehindAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := inmem.NewNetwork()
		var broken atomic.Bool
		c := coretest.NewCluster(t, 2, coretest.WithTransport(func(i int, name string) (transport.Transport, string) {
			if i == 0 {
				return brittleTransport{network.Node(name), &broken}, name
			}
			return network.Node(name), name
		}), coretest.WithHandlers(func(_ int, m *core.Manager) error { return lab.RegisterEchoes(m) }))
		network.SetLatency(100 * time.Millisecond)
		answered := lab.GoCall(t.Context(), c.Conn(0, 1), "echo", []byte("answered"))
		time.Sleep(150 * time.Millisecond) // the answer is on its way
		broken.Store(true)
		began := time.Now()
		failed := lab.GoCall(t.Context(), c.Conn(0, 1), "echo", []byte("written in vain"))
		if got := lab.Wait(t, answered, "the call that was answered returns"); got.Err != nil {
			t.Errorf("a call whose answer was on its way returned %v", got.Err)
		}
		got := lab.Wait(t, failed, "the call that could not be written returns")
		lab.WantFailure(t, "a call that could not be written", got.Err, core.ErrDisconnected, core.OutcomeMaybeRun)
		if !errors.Is(got.Err, errBrokenPipe) || errors.Is(got.Err, net.ErrClosed) {
			t.Errorf("the call says %v, want the reason of the write", got.Err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("a link that cannot be written to ended after %v, want a second at most", d)
		}
		broken.Store(false)
		c.WaitConnected()
	})
}
