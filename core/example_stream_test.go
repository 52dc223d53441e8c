package core_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/gridmux/gridmux/core"
)

// A handler that sends: the caller reads what comes until the handler returns.
func ExampleManager_HandleStreamFunc() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleStreamFunc("list", func(_ context.Context, prefix []byte, s *core.RawStream) error {
			for _, name := range []string{"one", "two", "three"} {
				if err := s.Send(append(prefix, name...)); err != nil {
					return err
				}
			}
			return nil
		}, core.WithCapacity(0, 16)) // takes no messages, up to 16 may be on their way
	})
	defer stop()

	s, err := conn.OpenStream(context.Background(), "list", []byte("disk/"))
	if err != nil {
		log.Fatal(err)
	}
	for msg, err := range s.All() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(msg))
	}
	// Output:
	// disk/one
	// disk/two
	// disk/three
}

// An upload: the caller sends and says when it is done, the handler answers with
// one message.
func ExampleConnection_OpenStream_upload() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleStreamFunc("count", func(_ context.Context, _ []byte, s *core.RawStream) error {
			total := 0
			for msg, err := range s.All() {
				if err != nil {
					return err // not all of it has arrived
				}
				total += len(msg)
			}
			return s.Send(fmt.Appendf(nil, "%d bytes", total))
		})
	})
	defer stop()

	s, err := conn.OpenStream(context.Background(), "count", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for range 3 {
		if err := s.Send(make([]byte, 1000)); err != nil {
			log.Fatal(err)
		}
	}
	if err := s.CloseSend(); err != nil {
		log.Fatal(err)
	}
	answer, err := s.Recv(nil)
	fmt.Println(string(answer), err)
	// Output: 3000 bytes <nil>
}

// Messages in both directions, and an error of the handler at the end.
func ExampleConnection_OpenStream() {
	errEmpty := &core.RemoteError{Code: 1001, Message: "an empty message"}
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleStreamFunc("upper", func(_ context.Context, _ []byte, s *core.RawStream) error {
			for msg, err := range s.All() {
				switch {
				case err != nil:
					return err
				case len(msg) == 0:
					return errEmpty
				}
				if err := s.Send([]byte(strings.ToUpper(string(msg)))); err != nil {
					return err
				}
			}
			return nil
		})
	})
	defer stop()

	s, err := conn.OpenStream(context.Background(), "upper", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	var buf []byte
	for _, text := range []string{"hello", "world", ""} {
		if err := s.Send([]byte(text)); err != nil {
			log.Fatal(err)
		}
		if buf, err = s.Recv(buf[:0]); err != nil {
			fmt.Println(err, errors.Is(err, errEmpty))
			break
		}
		fmt.Println(string(buf))
	}
	// Output:
	// HELLO
	// WORLD
	// gridmux: upper on b: an empty message (code 1001) true
}

// The form of channels, on both sides: for select loops.
func ExampleConnection_NewStream() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleStream("double", core.StreamHandler{
			InCapacity: 4, OutCapacity: 4,
			Handle: func(ctx context.Context, _ []byte, in <-chan []byte, out chan<- []byte) error {
				for msg := range in {
					out <- append(msg, msg...) // is taken until Handle returns
				}
				return context.Cause(ctx) // nil: in was closed by the caller
			},
		})
	})
	defer stop()

	s, err := conn.NewStream(context.Background(), "double", nil)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		defer close(s.Requests) // ends the input
		for _, text := range []string{"x", "yz"} {
			if err := s.Send([]byte(text)); err != nil {
				return
			}
		}
	}()
	err = s.Results(func(msg []byte) error {
		fmt.Println(string(msg))
		return nil
	})
	fmt.Println("end:", err)
	// Output:
	// xx
	// yzyz
	// end: <nil>
}

// A stream as io.Reader and io.Writer, for whatever works with those.
func ExampleRawStream_Conn() {
	conn, stop := twoNodes(func(m *core.Manager) error {
		return m.HandleStreamFunc("file", func(_ context.Context, _ []byte, s *core.RawStream) error {
			_, err := io.Copy(s.Conn(), strings.NewReader("first line\nsecond line\n"))
			return err
		})
	})
	defer stop()

	s, err := conn.OpenStream(context.Background(), "file", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	lines := bufio.NewScanner(s.Conn())
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	fmt.Println(lines.Err()) // not nil if the end is missing
	// Output:
	// first line
	// second line
	// <nil>
}

// An http.Server that is reached over the connections between the nodes, beside
// their other calls.
func ExampleManager_Listener() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s, you asked for %s", r.RemoteAddr, r.URL.Path)
	})
	conn, stop := twoNodes(func(m *core.Manager) error {
		ln, err := m.Listener("http")
		if err == nil {
			go http.Serve(ln, hello) // ends with the Manager
		}
		return err
	})
	defer stop()

	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return conn.Dial(ctx, "http", core.WaitForConnection())
		},
	}}
	resp, err := client.Get("http://b/index.html")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(string(body), err)
	// Output: hello a, you asked for /index.html <nil>
}
