// Package hook calls the functions that users set in the options of a transport to
// take part in dialling. A dial is on a goroutine on which there is no code of the
// user's that could recover a panic, so one there would end the process, and the core
// waits for that goroutine, so runtime.Goexit there would leave the peer without a
// dial. Here each becomes an error, which names the function.
package hook

import "fmt"

// Call calls f, and returns what it returns, or that it panicked, or called
// runtime.Goexit, which t.FailNow does; name is what the user knows f by. f runs on a
// goroutine of its own, since nothing else outlives Goexit: a dial takes far longer.
func Call(name string, f func() error) error {
	done := make(chan error)
	go func() {
		err := fmt.Errorf("%s did not return, but called runtime.Goexit", name)
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("%s panicked: %v", name, v)
			}
			done <- err
		}()
		err = f()
	}()
	return <-done
}
