package main

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSwapIsOneLine makes the changes of transport that the README shows, one after
// the other in a copy of the quick start, and runs it after each: the output is the
// same. From the second one on nodes have certificates, and need no AllowInsecure.
func TestSwapIsOneLine(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	diffs := regexp.MustCompile("(?s)```diff\n-(.*?)\n\\+(.*?)\n```").FindAllSubmatch(readme, -1)
	if len(diffs) != 3 {
		t.Fatalf("the README shows %d changes of one line as a diff, want 3", len(diffs))
	}
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	program := string(main)
	replace := func(from, to string) {
		t.Helper()
		if n := strings.Count(program, from); n != 1 {
			t.Fatalf("what is replaced stands in the quick start %d times:\n%s", n, from)
		}
		program = strings.Replace(program, from, to, 1)
	}
	for i, diff := range diffs {
		replace(string(diff[1])+"\n", string(diff[2])+"\n")
		switch i {
		case 0:
			replace("transport/inmem", "transport/websocket")
		case 1:
			replace("\t\"github.com/gridmux/gridmux/transport/websocket\"\n",
				"\t\"github.com/gridmux/gridmux/transport/devtls\"\n\t\"github.com/gridmux/gridmux/transport/websocket\"\n")
			replace("\t\t\tAllowInsecure: true, // nobody else can reach these addresses\n", "")
		case 2:
			replace("transport/websocket", "transport/quic")
		}
		run(t, program)
	}
}

// run runs another program in place of the quick start.
func run(t *testing.T, program string) {
	t.Helper()
	for _, addr := range []string{"127.0.0.1:9001", "127.0.0.1:9002"} {
		program = strings.Replace(program, addr, freeAddr(t), 1)
	}
	dir := t.TempDir()
	changed, overlay := filepath.Join(dir, "main.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(changed, []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	original, err := filepath.Abs("main.go")
	if err != nil {
		t.Fatal(err)
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {original: changed}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-overlay", overlay, ".").CombinedOutput()
	const want = "hello b, I am b <nil>\nhello a, I am a <nil>\n"
	if err != nil || string(out) != want {
		t.Fatalf("the changed quick start prints\n%s(%v), want\n%s\nThe program:\n%s", out, err, want, program)
	}
}

// freeAddr returns an address that nothing listens on, since the ones of the
// quick start may be in use here.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
