//go:build linux || darwin

package proctest_test

import (
	"context"
	"net"
	"time"
)

// slowListener and slowDial make connections on which everything arrives a while
// after it was there. The delay is on the side that receives, so that nothing is
// lost of what a process sends before it ends.
type slowListener struct {
	net.Listener
	delay time.Duration
}

func (l slowListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return slowConn{nc, l.delay}, nil
}

func slowDial(delay time.Duration) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return slowConn{nc, delay}, nil
	}
}

type slowConn struct {
	net.Conn
	delay time.Duration
}

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		pass(c.delay)
	}
	return n, err
}
