package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
)

// Listen listens by all transports, or fails.
func (f *fallback) Listen(ctx context.Context, addr string) (Listener, error) {
	l := &fallbackListener{arrived: make(chan Conn), broken: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, p := range f.parts {
		ln, err := p.Listen(ctx, addr)
		if err != nil {
			_ = l.Close()
			return nil, err
		}
		l.all = append(l.all, ln)
	}
	for _, ln := range l.all {
		l.pumps.Go(func() { l.pump(ln) })
	}
	return l, nil
}

// fallbackListener takes the connections of several listeners. Each of them has
// a goroutine that holds at most one connection which nobody has accepted yet;
// the others wait in the listener.
type fallbackListener struct {
	all     []Listener
	arrived chan Conn
	//nolint:containedctx // It is the life of the pumps, ended by Close.
	ctx    context.Context
	cancel context.CancelFunc
	pumps  sync.WaitGroup

	once   sync.Once
	err    error         // of the first listener that failed
	broken chan struct{} // closed when err is set
}

func (l *fallbackListener) pump(ln Listener) {
	for {
		tc, err := ln.Accept(l.ctx)
		if err != nil {
			if l.ctx.Err() == nil {
				// Whoever listens has to know, although the others work.
				l.once.Do(func() {
					l.err = fmt.Errorf("listening on %v: %w", ln.Addr(), err)
					close(l.broken)
				})
			}
			return
		}
		select {
		case l.arrived <- tc:
		case <-l.ctx.Done():
			_ = tc.CloseWithError(0, "the listener was closed")
			return
		}
	}
}

func (l *fallbackListener) Accept(ctx context.Context) (Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if l.ctx.Err() != nil {
		return nil, net.ErrClosed
	}
	select {
	case tc := <-l.arrived:
		return tc, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	case <-l.broken:
		return nil, l.err
	}
}

func (l *fallbackListener) Addr() net.Addr {
	var addrs fallbackAddr
	for _, ln := range l.all {
		addrs = append(addrs, ln.Addr())
	}
	return addrs
}

func (l *fallbackListener) Close() error {
	l.cancel()
	var errs []error
	for _, ln := range l.all {
		errs = append(errs, ln.Close())
	}
	l.pumps.Wait()
	return errors.Join(errs...)
}

func (l *fallbackListener) Info() ListenerInfo {
	all := ListenerInfo{Local: true, TLS: true, MutualTLS: true}
	for _, ln := range l.all {
		info := ln.Info()
		all.Local = all.Local && info.Local
		all.TLS = all.TLS && info.TLS
		all.MutualTLS = all.MutualTLS && info.MutualTLS
	}
	return all
}

// fallbackAddr is the address of a fallbackListener, in the form that Fallback
// takes.
type fallbackAddr []net.Addr

func (a fallbackAddr) Network() string { return a[0].Network() }

func (a fallbackAddr) String() string {
	texts := make([]string, len(a))
	same := true
	for i, addr := range a {
		texts[i] = addr.String()
		same = same && texts[i] == texts[0]
	}
	if same {
		return texts[0]
	}
	return strings.Join(texts, ",")
}
