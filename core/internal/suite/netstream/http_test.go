package netstream_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// serveHTTP runs an http.Server on the Listener of node 1 and returns it with a
// client on node 0. The end of the test closes both.
func (c *nodes) serveHTTP(h http.HandlerFunc) (*http.Server, *http.Client) {
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	served := lab.Go(func() error { return server.Serve(c.listener(1)) })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return c.Conn(0, 1).Dial(ctx, service)
	}}
	c.T.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		if err := lab.Wait(c.T, served, "Serve returns"); !errors.Is(err, http.ErrServerClosed) {
			c.T.Errorf("Serve returned %v", err)
		}
	})
	return server, &http.Client{Transport: transport}
}

func (c *nodes) do(client *http.Client, method string, body io.Reader) *http.Response {
	c.T.Helper()
	req, err := http.NewRequestWithContext(c.T.Context(), method, "http://node-1/", body)
	if err != nil {
		c.T.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		c.T.Fatalf("%s failed: %v", method, err)
	}
	c.T.Cleanup(func() { resp.Body.Close() })
	return resp
}

// TestHTTPKeepAlive expects requests one after the other to use one connection,
// many at once to work, and the server to know by its name who asks.
func TestHTTPKeepAlive(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		_, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "hello %s", r.RemoteAddr)
		})
		var dialled, reused atomic.Int32
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
			if i.Reused {
				reused.Add(1)
			} else {
				dialled.Add(1)
			}
		}})
		get := func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://node-1/", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err == nil && string(body) != "hello node-0" {
				err = fmt.Errorf("got %q", body)
			}
			return err
		}
		for range 10 {
			if err := get(); err != nil {
				t.Fatal(err)
			}
		}
		if dialled.Load() != 1 || reused.Load() != 9 {
			t.Errorf("10 requests made %d connections and used one again %d times", dialled.Load(), reused.Load())
		}
		var wg sync.WaitGroup
		for range 30 {
			wg.Go(func() {
				for range 5 {
					if err := get(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestHTTPLargeBodies expects bodies far over every window to arrive unharmed in
// both directions.
func TestHTTPLargeBodies(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		_, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			hash := sha256.New()
			n, err := io.Copy(hash, r.Body)
			if err != nil {
				t.Errorf("the server read %v", err)
			}
			w.Header().Set("Sum", fmt.Sprintf("%x", hash.Sum(nil)))
			if _, err := io.Copy(w, bytes.NewReader(lab.Pattern(2, int(n)))); err != nil {
				t.Errorf("the server wrote %v", err)
			}
		})
		for range 2 {
			text := lab.Pattern(1, lab.Scale(8, 2, 64)<<20)
			resp := c.do(client, http.MethodPost, bytes.NewReader(text))
			if got, want := resp.Header.Get("Sum"), fmt.Sprintf("%x", sha256.Sum256(text)); got != want {
				t.Error("the server got another body than was sent")
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, lab.Pattern(2, len(text))) {
				t.Errorf("the client got %d bytes, %v, not those that were sent", len(got), err)
			}
		}
	})
}

// TestHTTPStreaming expects each chunk of a response to arrive before the next is
// written.
func TestHTTPStreaming(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		next := make(chan string)
		_, client := c.serveHTTP(func(w http.ResponseWriter, _ *http.Request) {
			for chunk := range next {
				if _, err := io.WriteString(w, chunk); err != nil {
					t.Errorf("the server wrote %v", err)
				}
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Errorf("Flush returned %v", err)
				}
			}
		})
		responses := lab.Go(func() *http.Response { return c.do(client, http.MethodGet, nil) })
		next <- "chunk 0"
		resp := lab.Wait(t, responses, "the response begins")
		for i := range 20 {
			want := fmt.Sprint("chunk ", i)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("read %q, %v, want %q", got, err, want)
			}
			next <- fmt.Sprint("chunk ", i+1)
		}
		close(next)
		if rest, err := io.ReadAll(resp.Body); string(rest) != "chunk 20" || err != nil {
			t.Errorf("the response ended with %q, %v", rest, err)
		}
	})
}

// TestHTTPPush expects a server to send while the client still uploads, each
// going on only after the other.
func TestHTTPPush(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		_, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if err := errors.Join(control.EnableFullDuplex(), control.Flush()); err != nil {
				t.Errorf("full duplex: %v", err)
			}
			line := make([]byte, 8)
			for {
				if _, err := io.ReadFull(r.Body, line); err != nil {
					if err != io.EOF {
						t.Errorf("the server read %v", err)
					}
					return
				}
				if _, err := fmt.Fprintf(w, "%s has arrived", line); err != nil {
					t.Errorf("the server wrote %v", err)
				}
				if err := control.Flush(); err != nil {
					t.Errorf("Flush returned %v", err)
				}
			}
		})
		body, upload := io.Pipe()
		resp := c.do(client, http.MethodPost, body)
		for i := range 20 {
			line := fmt.Sprintf("line %3d", i)
			if _, err := io.WriteString(upload, line); err != nil {
				t.Fatal(err)
			}
			want := line + " has arrived"
			got := make([]byte, len(want))
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != want {
				t.Fatalf("read %q, %v, want %q", got, err, want)
			}
		}
		upload.Close()
		if rest, err := io.ReadAll(resp.Body); len(rest) != 0 || err != nil {
			t.Errorf("the response ended with %q, %v", rest, err)
		}
	})
}

// TestHTTPCancel expects a client that gives up to end the context of the
// server's handler, and a server that gives up to be an error of the client's.
func TestHTTPCancel(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := listen(t, l, 2)
		ended := make(chan error, 1)
		_, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "begun")
			_ = http.NewResponseController(w).Flush()
			if r.Method == http.MethodGet {
				panic(http.ErrAbortHandler)
			}
			<-r.Context().Done()
			ended <- r.Context().Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://node-1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		cancel()
		if err := lab.Wait(t, ended, "the server's handler learns of it"); !errors.Is(err, context.Canceled) {
			t.Errorf("its context ended with %v", err)
		}
		body, err := io.ReadAll(c.do(client, http.MethodGet, nil).Body)
		if string(body) != "begun" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("of a response that was broken off the client read %q, %v", body, err)
		}
	})
}

// TestHTTPCut expects a request whose connection between the nodes is lost to
// fail with ErrDisconnected, and the next to work when there is another.
func TestHTTPCut(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		began := make(chan struct{}, 1)
		c := listen(t, l, 2, lab.Impatient())
		_, client := c.serveHTTP(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
				began <- struct{}{}
				<-r.Context().Done()
			}
		})
		resp := c.do(client, http.MethodPost, strings.NewReader("x"))
		lab.Wait(t, began, "the request arrives")
		c.Cut(0, 1)
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, core.ErrDisconnected) {
			t.Errorf("the client read %v, want ErrDisconnected", err)
		}
		c.WaitConnected()
		if body, err := io.ReadAll(c.do(client, http.MethodGet, nil).Body); len(body) != 0 || err != nil {
			t.Errorf("the next request: %q, %v", body, err)
		}
	})
}
