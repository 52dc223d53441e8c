package payload_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"

	"github.com/gridmux/gridmux/core/payload"
)

// traced is what a program writes once to see the parameters of its handlers.
// It fits around the function of any typed handler.
func traced[Req, Resp any](log *slog.Logger, name string, handle func(context.Context, *Req) (*Resp, error)) func(context.Context, *Req) (*Resp, error) {
	return func(ctx context.Context, req *Req) (*Resp, error) {
		resp, err := handle(ctx, req)
		log.DebugContext(ctx, "served", "handler", name, "request", req, "response", resp, "error", err)
		return resp, err
	}
}

// Messages are slog.LogValuers: they show themselves, in short, if a logger
// asks.
func Example_trace() {
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	read := func(_ context.Context, req *payload.Strings) (*payload.Bytes, error) {
		contents := payload.Bytes("contents of " + (*req)["path"])
		return &contents, nil
	}
	_, _ = traced(log, "disk.read", read)(context.Background(), &payload.Strings{"disk": "d1", "path": "/a"})
	// Output: level=DEBUG msg=served handler=disk.read request.disk=d1 request.path=/a response.size=14 error=<nil>
}

func ExampleStrings_ToQuery() {
	parameters := payload.Strings{"disk": "d1", "path": "/a b"}
	fmt.Println(parameters.ToQuery())
	// Output: disk=d1&path=%2Fa+b
}

// An HTTP handler passes its parameters on to another node as they are.
func ExampleValues() {
	query, _ := url.ParseQuery("disk=d1&disk=d2")
	request := payload.Values(query) // what is sent
	fmt.Println(url.Values(request)["disk"])
	// Output: [d1 d2]
}
