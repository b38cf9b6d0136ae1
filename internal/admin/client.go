package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// ErrNotRunning is inside the error of a Client that finds nobody behind the
// socket.
var ErrNotRunning = errors.New("no barid is running on this data directory")

// maxAnswer bounds what is read of an answer, in octets.
const maxAnswer = 4 << 20

// Client asks the relay that runs on a data directory.
type Client struct {
	dataDir string
	http    *http.Client
}

// Dial gives a client for the relay on dataDir. It connects when it is asked
// something, anew each time, so there is nothing to close.
func Dial(dataDir string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d, err := openDoor(dataDir)
		if err != nil {
			return nil, err
		}
		defer d.close()
		return (&net.Dialer{}).DialContext(ctx, "unix", d.path)
	}
	return &Client{dataDir, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Status asks how the relay is. The error wraps ErrNotRunning when there is
// none, and fs.ErrPermission when its socket belongs to somebody else.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.get(ctx, "/status", &s)
	return s, err
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	resp, err := c.do(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := c.read(resp)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the relay on %s: %s: %s", c.dataDir, resp.Status, strings.TrimSpace(string(text)))
	}
	return decode(text, into)
}

// do sends a request. The caller closes the body of the answer.
func (c *Client) do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	// The host is a formality of HTTP; the socket decides who answers.
	req, err := http.NewRequestWithContext(ctx, method, "http://barid"+path, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%s)", ErrNotRunning, c.dataDir)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the relay on %s belongs to another user: %w", c.dataDir, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("ask the relay on %s: %w", c.dataDir, err)
	}
	return resp, nil
}
