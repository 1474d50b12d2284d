"""Draw the page of `hush serve` with a picture on it, in headless Chromium.

pip install selenium                                       # beside Debian's chromium and chromium-driver
hush demo && python benchmarks/serve_screenshot.py hush-demo/astronaut-noisy.png docs/images/serve.webp
"""

from __future__ import annotations

import argparse
import io
import re
import signal
import subprocess
import sys
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --window-size=1080,1330"
)


def main() -> None:
    """Serve, send the picture, wait until it is shown, and save what the window shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--driver", default="/usr/bin/chromedriver")
    options = parser.parse_args()
    chrome = webdriver.ChromeOptions()
    chrome.binary_location = options.chromium
    for argument in ARGUMENTS.split():
        chrome.add_argument(argument)
    line = [sys.executable, "-m", "hush", "serve", "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            browser = webdriver.Chrome(options=chrome, service=Service(options.driver))
            try:
                browser.get(address[0])
                browser.find_element(By.ID, "files").send_keys(str(options.picture.resolve()))
                WebDriverWait(browser, 300).until(lambda page: page.find_elements(By.CSS_SELECTOR, "article .compare"))
                Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB").save(options.out, quality=85)
            finally:
                browser.quit()
        finally:
            server.send_signal(signal.SIGINT)


if __name__ == "__main__":
    main()
