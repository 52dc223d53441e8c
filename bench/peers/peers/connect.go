package peers

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/gridmux/gridmux/bench/peers/h"
)

func openConnect() (*h.Peer, error) {
	mux := http.NewServeMux()
	mux.Handle("/e.E/Echo", connect.NewUnaryHandler("/e.E/Echo", func(ctx context.Context, r *connect.Request[pb]) (*connect.Response[pb], error) {
		return connect.NewResponse(&pb{Value: r.Msg.Value}), nil
	}))
	mux.Handle("/e.E/S", connect.NewServerStreamHandler("/e.E/S", func(ctx context.Context, r *connect.Request[pb], st *connect.ServerStream[pb]) error {
		count, size := getReq(r.Msg.Value)
		p := make([]byte, size)
		for i := 0; i < count; i++ {
			if err := st.Send(&pb{Value: p}); err != nil {
				return err
			}
		}
		return nil
	}))
	var pr http.Protocols
	pr.SetUnencryptedHTTP2(true)
	l := listen()
	s := &http.Server{Handler: mux, Protocols: &pr, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 4096}}
	go s.Serve(l)
	tr := &http.Transport{Protocols: &pr, HTTP2: &http.HTTP2Config{StrictMaxConcurrentRequests: true}, DisableCompression: true, IdleConnTimeout: time.Minute}
	hc := &http.Client{Transport: tr}
	url := "http://" + l.Addr().String()
	c := connect.NewClient[pb, pb](hc, url+"/e.E/Echo")
	cs := connect.NewClient[pb, pb](hc, url+"/e.E/S")
	ctx := context.Background()
	if _, err := c.CallUnary(ctx, connect.NewRequest(&pb{Value: []byte("x")})); err != nil {
		return nil, err
	}
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			return func(req []byte) (int, error) {
				r, err := c.CallUnary(ctx, connect.NewRequest(&pb{Value: req}))
				if err != nil {
					return 0, err
				}
				return len(r.Msg.Value), nil
			}, nil
		},
		Stream: func(count, size int) (int, error) {
			st, err := cs.CallServerStream(ctx, connect.NewRequest(&pb{Value: putReq(count, size)}))
			if err != nil {
				return 0, err
			}
			n := 0
			for st.Receive() {
				n++
			}
			err = st.Err()
			st.Close()
			return n, err
		},
		Close: func() { tr.CloseIdleConnections(); s.Close() },
	}, nil
}

func init() {
	h.Register(&h.Factory{Name: "connect", Note: "connect-go over h2c (net/http)", Open: func(int) (*h.Peer, error) { return openConnect() }})
}
