package peers

import (
	"context"
	"fmt"
	"net"

	"github.com/containerd/ttrpc"

	"github.com/gridmux/gridmux/bench/peers/h"
)

func openTTRPC() (*h.Peer, error) {
	s, err := ttrpc.NewServer()
	if err != nil {
		return nil, err
	}
	s.RegisterService("e", &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{"Echo": func(ctx context.Context, un func(any) error) (any, error) {
			m := new(pb)
			return m, un(m)
		}},
		Streams: map[string]ttrpc.Stream{"S": {StreamingServer: true, Handler: func(ctx context.Context, st ttrpc.StreamServer) (any, error) {
			m := new(pb)
			if err := st.RecvMsg(m); err != nil {
				return nil, err
			}
			count, size := getReq(m.Value)
			p := make([]byte, size)
			for i := 0; i < count; i++ {
				if err := st.SendMsg(&pb{Value: p}); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}}},
	})
	l := listen()
	ctx := context.Background()
	go s.Serve(ctx, l)
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	c := ttrpc.NewClient(nc)
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			return func(req []byte) (int, error) {
				var out pb
				err := c.Call(ctx, "e", "Echo", &pb{Value: req}, &out)
				return len(out.Value), err
			}, nil
		},
		Stream: func(count, size int) (int, error) {
			st, err := c.NewStream(ctx, &ttrpc.StreamDesc{StreamingServer: true}, "e", "S", &pb{Value: putReq(count, size)})
			if err != nil {
				return 0, err
			}
			var m pb
			for i := 0; i < count; i++ {
				if err := st.RecvMsg(&m); err != nil {
					return i, err
				}
				if len(m.Value) != size {
					return i, fmt.Errorf("size %d", len(m.Value))
				}
			}
			return count, nil
		},
		Close: func() { c.Close(); s.Close() },
	}, nil
}

func init() {
	h.Register(&h.Factory{Name: "ttrpc", Note: "containerd/ttrpc, protobuf BytesValue", Open: func(int) (*h.Peer, error) { return openTTRPC() }})
}
