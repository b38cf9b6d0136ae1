package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// maxLine bounds one line of a stream, in octets.
const maxLine = 4 << 20

// Ask asks what Answer answers: path is "/verb", question and answer are JSON
// (nil for an empty question). What the other side returned as its error is a
// *Fault; other errors are as those of Client.Status.
func (c *Client) Ask(ctx context.Context, path string, question, answer any) error {
	resp, err := c.post(ctx, path, question)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := c.read(resp)
	if err != nil {
		return err
	}
	return decode(text, answer)
}

// read reads an answer whole.
func (c *Client) read(resp *http.Response) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask the relay on %s: %w", c.dataDir, err)
	}
	return text, nil
}

func decode(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read the relay's answer: %w", err)
	}
	return nil
}

// Follow asks what Stream answers, and gives each value to f as it comes. It
// ends with the stream, with the first error of f, or with ctx. The relay
// stops its work when Follow returns. A stream that breaks off is an error;
// other errors are as those of Ask.
func Follow[V any](ctx context.Context, c *Client, path string, question any, f func(V) error) error {
	resp, err := c.post(ctx, path, question)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		var l line
		if err := decode(lines.Bytes(), &l); err != nil {
			return err
		}
		switch {
		case l.End:
			return nil
		case l.Fault != "":
			return &Fault{l.Fault}
		}
		var v V
		if err := decode(l.Value, &v); err != nil {
			return err
		}
		if err := f(v); err != nil {
			return err
		}
	}
	err = lines.Err()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("the relay on %s broke off: %w", c.dataDir, err)
}

// post sends a question and sees to it that the answer is one.
func (c *Client) post(ctx context.Context, path string, question any) (*http.Response, error) {
	var body io.Reader = http.NoBody
	if question != nil {
		text, err := json.Marshal(question)
		if err != nil {
			return nil, fmt.Errorf("write the question: %w", err)
		}
		body = bytes.NewReader(text)
	}
	resp, err := c.do(ctx, http.MethodPost, path, body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := c.read(resp)
	if err != nil {
		return nil, err
	}
	var l line
	if err := json.Unmarshal(text, &l); err == nil && l.Fault != "" {
		return nil, &Fault{l.Fault}
	}
	if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed {
		return nil, fmt.Errorf("the relay on %s does not know this command; it may be of another version", c.dataDir)
	}
	return nil, errors.New("ask the relay on " + c.dataDir + ": " + resp.Status)
}
