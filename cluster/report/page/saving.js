// Saving a long table: packed in the page, plain in the file.
async function unpack(link) {
  const bytes = Uint8Array.from(atob(link.href.split("base64,")[1]), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const blob = new Blob([await new Response(plain).arrayBuffer()], { type: "text/csv" });
  keep(blob, link.dataset.unpacked);
}

// The answer as text for a chat or a ticket, and as a picture of 1200 x 630, both from what is in the page.
async function copy(button) {
  const text = button.dataset.copy, word = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give a page from another machine no clipboard without encryption.
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => { button.textContent = word; }, 2000);
}

async function picture(link) {
  const image = new Image();
  image.src = link.href;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [1200, 630];
  canvas.getContext("2d").drawImage(image, 0, 0, 1200, 630);
  const blob = await new Promise((done) => { canvas.toBlob(done, "image/png"); });
  keep(blob, link.dataset.picture);
}

function keep(blob, name) {
  const saved = document.createElement("a");
  saved.href = URL.createObjectURL(blob);
  saved.download = name;
  saved.click();
  setTimeout(() => URL.revokeObjectURL(saved.href), 10000);
}
