package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxQuestion bounds the JSON of a question, in octets.
const maxQuestion = 1 << 20

// lineTimeout bounds how long a reader of a stream may hold up one line.
const lineTimeout = 30 * time.Second

// Fault is an error that was told over the socket: what a function of Answer
// or Stream returned, in words.
type Fault struct{ Text string }

func (f *Fault) Error() string { return f.Text }

// Answer makes a handler, for "POST /verb", of a function from a question to
// an answer; both travel as JSON. An empty body is the zero question; one with
// unknown members, or of more than 1 MiB, is refused. An error of f is told to
// who asked, as a *Fault, so it names nothing that a log may not have. An
// answer has to be ready within 30 s: what takes longer is a Stream.
func Answer[Q, A any](f func(ctx context.Context, question Q) (A, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := readQuestion(w, r, &q); err != nil {
			tellFault(w, http.StatusBadRequest, err)
			return
		}
		a, err := f(r.Context(), q)
		if err != nil {
			tellFault(w, http.StatusUnprocessableEntity, err)
			return
		}
		text, err := json.Marshal(a)
		if err != nil {
			tellFault(w, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(text, '\n'))
	})
}

// readQuestion reads all of the body, so that a client that goes away is
// noticed from then on.
func readQuestion(w http.ResponseWriter, r *http.Request, q any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion))
	d.DisallowUnknownFields()
	err := d.Decode(q)
	if errors.Is(err, io.EOF) {
		return nil // nothing at all
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more than one value")
	}
	return fmt.Errorf("read the question: %w", err)
}

func tellFault(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(line{Fault: err.Error()})
}

// line is one line of a stream: a value of the verb, or one of the two ways
// to end.
type line struct {
	Value json.RawMessage `json:"value,omitempty"`
	Fault string          `json:"fault,omitempty"`
	End   bool            `json:"end,omitempty"`
}

// Stream makes a handler, for "POST /verb", of a function that works long and
// tells as it goes: each value given to send reaches the client at once, as a
// line of JSON. Questions and errors are as with Answer.
//
// ctx ends when the client goes away or the Server is closed. Send, which is
// for one goroutine at a time, returns an error when nobody reads any more.
func Stream[Q any](f func(ctx context.Context, question Q, send func(value any) error) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := readQuestion(w, r, &q); err != nil {
			tellFault(w, http.StatusBadRequest, err)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if stop, ok := ctx.Value(stopKey{}).(context.Context); ok {
			defer context.AfterFunc(stop, cancel)()
		}
		out := http.NewResponseController(w)
		// The server's deadlines are for short answers; here each line has one.
		if err := out.SetReadDeadline(time.Time{}); err != nil {
			tellFault(w, http.StatusInternalServerError, err)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		write := func(l line) error {
			if err := out.SetWriteDeadline(time.Now().Add(lineTimeout)); err != nil {
				return err
			}
			if err := json.NewEncoder(w).Encode(l); err != nil {
				return err
			}
			return out.Flush()
		}
		err := f(ctx, q, func(value any) error {
			text, err := json.Marshal(value)
			if err != nil {
				return err
			}
			return write(line{Value: text})
		})
		if err != nil {
			write(line{Fault: err.Error()})
			return
		}
		write(line{End: true})
	})
}

// stopKey finds, in the context of a request, the one that ends when the
// server is closed.
type stopKey struct{}
