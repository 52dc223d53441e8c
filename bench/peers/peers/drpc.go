package peers

import (
	"context"
	"fmt"
	"net"
	"sync"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcserver"

	"github.com/gridmux/gridmux/bench/peers/h"
)

type drawEnc struct{}

func (drawEnc) Marshal(m drpc.Message) ([]byte, error) { return *m.(*[]byte), nil }
func (drawEnc) Unmarshal(b []byte, m drpc.Message) error {
	p := m.(*[]byte)
	*p = append((*p)[:0], b...)
	return nil
}

type drpcH struct{}

func (drpcH) HandleRPC(st drpc.Stream, rpc string) error {
	var b []byte
	if err := st.MsgRecv(&b, drawEnc{}); err != nil {
		return err
	}
	if rpc == "/e/echo" {
		return st.MsgSend(&b, drawEnc{})
	}
	count, size := getReq(b)
	p := make([]byte, size)
	for i := 0; i < count; i++ {
		if err := st.MsgSend(&p, drawEnc{}); err != nil {
			return err
		}
	}
	return st.CloseSend()
}

func openDRPC(conc, conns int) (*h.Peer, error) {
	l := listen()
	ctx, cancel := context.WithCancel(context.Background())
	opts := drpcserver.Options{}
	opts.Manager.Reader.MaximumBufferSize = 64 << 20
	go drpcserver.NewWithOptions(drpcH{}, opts).Serve(ctx, l)
	copts := drpcconn.Options{}
	copts.Manager.Reader.MaximumBufferSize = 64 << 20
	pool := make(chan *drpcconn.Conn, conns)
	for i := 0; i < conns; i++ {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			cancel()
			return nil, err
		}
		pool <- drpcconn.NewWithOptions(c, copts)
	}
	var mu sync.Mutex
	_ = &mu
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			var out []byte
			return func(req []byte) (int, error) {
				c := <-pool
				err := c.Invoke(ctx, "/e/echo", drawEnc{}, &req, &out)
				pool <- c
				return len(out), err
			}, nil
		},
		Stream: func(count, size int) (int, error) {
			c := <-pool
			defer func() { pool <- c }()
			st, err := c.NewStream(ctx, "/e/s", drawEnc{})
			if err != nil {
				return 0, err
			}
			defer st.Close()
			r := putReq(count, size)
			if err := st.MsgSend(&r, drawEnc{}); err != nil {
				return 0, err
			}
			var b []byte
			for i := 0; i < count; i++ {
				if err := st.MsgRecv(&b, drawEnc{}); err != nil {
					return i, err
				}
				if len(b) != size {
					return i, fmt.Errorf("size %d", len(b))
				}
			}
			return count, nil
		},
		Close: func() {
			cancel()
			for i := 0; i < conns; i++ {
				(<-pool).Close()
			}
			l.Close()
		},
	}, nil
}

func init() {
	h.Register(&h.Factory{Name: "drpc-1", Note: "drpc, one connection (one rpc at a time)", Open: func(c int) (*h.Peer, error) { return openDRPC(c, 1) }})
	h.Register(&h.Factory{Name: "drpc-pool", Note: "drpc, one connection PER WORKER", Open: func(c int) (*h.Peer, error) { return openDRPC(c, c) }})
}
