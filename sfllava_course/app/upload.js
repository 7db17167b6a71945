// A file goes to the kernel in pieces, one at a time: the next when the last has arrived. What is too large, by the
// browser's own word, is not read at all.
const PIECE = 1 << 20; // bytes

function render({ model, el }) {
  const input = document.createElement("input");
  const said = document.createElement("div");
  input.type = "file";
  input.accept = "video/*,image/gif,image/webp";
  input.setAttribute("aria-label", "upload a video");
  said.setAttribute("role", "status");
  said.className = "sfllava-upload-said";
  el.append(input, said);

  let file = null;
  let at = 0;

  async function sendNext() {
    if (!file) return;
    if (at >= file.size) {
      model.send({ kind: "end" });
      file = null;
      return;
    }
    const upTo = Math.min(at + PIECE, file.size);
    try {
      const piece = await file.slice(at, upTo).arrayBuffer();
      at = upTo;
      model.send({ kind: "piece" }, undefined, [new DataView(piece)]);
    } catch (error) {
      model.send({ kind: "stop", why: String(error) });
      file = null;
    }
  }

  input.addEventListener("change", () => {
    file = input.files[0] ?? null;
    input.value = ""; // the same file may be chosen again
    if (!file) return;
    at = 0;
    model.send({ kind: "begin", name: file.name, size: file.size });
  });
  const onMessage = (message) => {
    if (message.kind === "next") sendNext();
    if (message.kind === "stop") file = null;
  };
  const onSaid = () => {
    said.textContent = model.get("said");
  };
  model.on("msg:custom", onMessage);
  model.on("change:said", onSaid);
  onSaid();
  return () => {
    model.off("msg:custom", onMessage);
    model.off("change:said", onSaid);
  };
}

export default { render };
