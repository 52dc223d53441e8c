package peers

import (
	"context"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gridmux/gridmux/bench/peers/h"
)

// rawCodec passes []byte through without protobuf.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (rawCodec) Unmarshal(d mem.BufferSlice, v any) error {
	b := v.(*[]byte)
	*b = grow(*b, d.Len())
	d.CopyTo(*b)
	return nil
}

type pb = wrapperspb.BytesValue

func grpcServer(raw bool) (*grpc.Server, net.Listener) {
	var opts []grpc.ServerOption
	opts = append(opts, grpc.MaxRecvMsgSize(64<<20), grpc.MaxSendMsgSize(64<<20))
	if raw {
		opts = append(opts, grpc.ForceServerCodecV2(rawCodec{}))
	}
	s := grpc.NewServer(opts...)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "e.E", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: func(_ any, ctx context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if raw {
				b := new([]byte)
				return b, dec(b)
			}
			m := new(pb)
			return m, dec(m)
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "S", ServerStreams: true, Handler: func(_ any, st grpc.ServerStream) error {
			var req []byte
			if raw {
				if err := st.RecvMsg(&req); err != nil {
					return err
				}
			} else {
				m := new(pb)
				if err := st.RecvMsg(m); err != nil {
					return err
				}
				req = m.Value
			}
			count, size := getReq(req)
			p := make([]byte, size)
			for i := 0; i < count; i++ {
				var err error
				if raw {
					err = st.SendMsg(&p)
				} else {
					err = st.SendMsg(&pb{Value: p})
				}
				if err != nil {
					return err
				}
			}
			return nil
		}}},
	}, nil)
	l := listen()
	go s.Serve(l)
	return s, l
}

func openGRPC(raw bool) (*h.Peer, error) {
	s, l := grpcServer(raw)
	var co []grpc.CallOption
	co = append(co, grpc.MaxCallRecvMsgSize(64<<20), grpc.MaxCallSendMsgSize(64<<20))
	if raw {
		co = append(co, grpc.ForceCodecV2(rawCodec{}))
	}
	cc, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(co...))
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			if raw {
				var out []byte
				return func(req []byte) (int, error) {
					err := cc.Invoke(ctx, "/e.E/Echo", &req, &out)
					return len(out), err
				}, nil
			}
			return func(req []byte) (int, error) {
				var out pb
				err := cc.Invoke(ctx, "/e.E/Echo", &pb{Value: req}, &out)
				return len(out.Value), err
			}, nil
		},
		Stream: func(count, size int) (int, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			st, err := cc.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/e.E/S")
			if err != nil {
				return 0, err
			}
			r := putReq(count, size)
			if raw {
				err = st.SendMsg(&r)
			} else {
				err = st.SendMsg(&pb{Value: r})
			}
			if err != nil {
				return 0, err
			}
			st.CloseSend()
			var b []byte
			var m pb
			for i := 0; i < count; i++ {
				if raw {
					err = st.RecvMsg(&b)
				} else {
					err = st.RecvMsg(&m)
					b = m.Value
				}
				if err != nil {
					return i, err
				}
				if len(b) != size {
					return i, fmt.Errorf("size %d", len(b))
				}
			}
			return count, nil
		},
		Close: func() { cc.Close(); s.Stop() },
	}, nil
}

func idleGRPC(n int) (func(), error) {
	_, l := grpcServer(true)
	var mu sync.Mutex
	var all []*grpc.ClientConn
	err := parallelDo(n, func(int) error {
		cc, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		b := []byte("x")
		var out []byte
		mu.Lock()
		all = append(all, cc)
		mu.Unlock()
		return cc.Invoke(context.Background(), "/e.E/Echo", &b, &out, grpc.ForceCodecV2(rawCodec{}))
	})
	return func() { _ = all }, err
}

func init() {
	encoding.RegisterCodecV2(rawCodec{})
	h.Register(&h.Factory{Name: "grpc", Note: "grpc-go, protobuf BytesValue", Open: func(int) (*h.Peer, error) { return openGRPC(false) }, Idle: idleGRPC})
	h.Register(&h.Factory{Name: "grpc-raw", Note: "grpc-go, pass-through codec", Open: func(int) (*h.Peer, error) { return openGRPC(true) }, Idle: idleGRPC})
}
