package lab

import (
	"context"

	"github.com/gridmux/gridmux/transport"
)

// toldTransport changes what links say of themselves.
type toldTransport struct {
	transport.Transport
	change func(info *transport.Info)
}

type toldListener struct {
	transport.Listener
	change func(info *transport.Info)
}

type toldConn struct {
	transport.Conn
	change func(info *transport.Info)
}

func (t toldTransport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := t.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return toldConn{tc, t.change}, nil
}

func (t toldTransport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := t.Transport.Listen(ctx, addr)
	return toldListener{ln, t.change}, err
}

func (l toldListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return toldConn{tc, l.change}, nil
}

func (c toldConn) Info() transport.Info {
	info := c.Conn.Info()
	c.change(&info)
	return info
}
