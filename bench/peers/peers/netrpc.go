package peers

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/rpc"
	"sync"

	"github.com/gridmux/gridmux/bench/peers/h"
)

type NetEcho struct{}

func (NetEcho) Echo(req *[]byte, resp *[]byte) error { *resp = *req; return nil }

// rawRPC is a binary codec for net/rpc: u64 seq | u16 len method | u32 len body.
type rawRPC struct {
	c   io.ReadWriteCloser
	br  *bufio.Reader
	bw  *bufio.Writer
	mu  sync.Mutex
	hdr [14]byte
	whd [14]byte
	n   int
	met []byte
}

func newRaw(c io.ReadWriteCloser) *rawRPC {
	return &rawRPC{c: c, br: bufio.NewReaderSize(c, 32<<10), bw: bufio.NewWriterSize(c, 32<<10)}
}

func (r *rawRPC) put(seq uint64, method string, body any) error {
	var b []byte
	if p, ok := body.(*[]byte); ok {
		b = *p
	}
	binary.LittleEndian.PutUint64(r.whd[:], seq)
	binary.LittleEndian.PutUint16(r.whd[8:], uint16(len(method)))
	binary.LittleEndian.PutUint32(r.whd[10:], uint32(len(b)))
	r.bw.Write(r.whd[:])
	r.bw.WriteString(method)
	r.bw.Write(b)
	return r.bw.Flush()
}

func (r *rawRPC) get() (seq uint64, err error) {
	if _, err = io.ReadFull(r.br, r.hdr[:]); err != nil {
		return
	}
	r.met = grow(r.met, int(binary.LittleEndian.Uint16(r.hdr[8:])))
	if _, err = io.ReadFull(r.br, r.met); err != nil {
		return
	}
	r.n = int(binary.LittleEndian.Uint32(r.hdr[10:]))
	return binary.LittleEndian.Uint64(r.hdr[:]), nil
}

func (r *rawRPC) body(v any) error {
	p, ok := v.(*[]byte)
	if !ok {
		_, err := r.br.Discard(r.n)
		return err
	}
	*p = grow(*p, r.n)
	_, err := io.ReadFull(r.br, *p)
	return err
}
func (r *rawRPC) Close() error { return r.c.Close() }

type rawS struct{ *rawRPC }

func (r rawS) ReadRequestHeader(q *rpc.Request) (err error) {
	q.Seq, err = r.get()
	q.ServiceMethod = "NetEcho.Echo"
	return
}
func (r rawS) ReadRequestBody(v any) error { return r.body(v) }
func (r rawS) WriteResponse(p *rpc.Response, v any) error {
	return r.put(p.Seq, "", v)
}

type rawC struct{ *rawRPC }

func (r rawC) WriteRequest(q *rpc.Request, v any) error { return r.put(q.Seq, q.ServiceMethod, v) }
func (r rawC) ReadResponseHeader(p *rpc.Response) (err error) {
	p.Seq, err = r.get()
	return
}
func (r rawC) ReadResponseBody(v any) error { return r.body(v) }

func openNetRPC(raw bool) (*h.Peer, error) {
	s := rpc.NewServer()
	if err := s.Register(NetEcho{}); err != nil {
		return nil, err
	}
	l := listen()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if raw {
				go s.ServeCodec(rawS{newRaw(c)})
			} else {
				go s.ServeConn(c)
			}
		}
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return nil, err
	}
	var c *rpc.Client
	if raw {
		c = rpc.NewClientWithCodec(rawC{newRaw(nc)})
	} else {
		c = rpc.NewClient(nc)
	}
	return &h.Peer{
		NewWorker: func() (h.EchoFn, error) {
			var out []byte
			return func(req []byte) (int, error) {
				err := c.Call("NetEcho.Echo", &req, &out)
				return len(out), err
			}, nil
		},
		Close: func() { c.Close(); l.Close() },
	}, nil
}

func init() {
	h.Register(&h.Factory{Name: "netrpc-gob", Note: "net/rpc, gob", Open: func(int) (*h.Peer, error) { return openNetRPC(false) }})
	h.Register(&h.Factory{Name: "netrpc-raw", Note: "net/rpc, raw []byte codec", Open: func(int) (*h.Peer, error) { return openNetRPC(true) }})
}
